"""`python -m foreshock.dashboards.prometheus` writes rules and cases anew, and prints what it wrote."""

from foreshock.dashboards.prometheus.files import render

if __name__ == "__main__":
    for path, text in render():
        path.write_text(text)
        print(path)
