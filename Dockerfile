# miliary-seg in a container: needs no network when it runs, writes only to the output folder (docs/cluster.md).
FROM python:3.11-slim
COPY . /source
RUN pip install --no-cache-dir "/source[dask,parquet]" && rm -rf /source
# one thread a worker: cores are shared out by --jobs
ENV OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 1000
WORKDIR /data
ENTRYPOINT ["miliary-seg"]
