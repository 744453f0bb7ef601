# The collector alone: no torch, no probe's dependencies beyond the wire.
FROM python:3.12-slim

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY probe probe
COPY server server
COPY kernels kernels
COPY reference_models reference_models
COPY dashboards dashboards
RUN pip install --no-cache-dir -c constraints.txt '.[server]' && rm -rf /src \
    && useradd --create-home --uid 10001 foreshock

USER foreshock
WORKDIR /home/foreshock
EXPOSE 8787
CMD ["foreshock", "serve"]
