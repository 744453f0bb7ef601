"""`python -m foreshock.dashboards.grafana` writes the boards anew, and prints what it wrote."""

from foreshock.dashboards.grafana.files import render

if __name__ == "__main__":
    for path, text in render():
        path.write_text(text)
        print(path)
