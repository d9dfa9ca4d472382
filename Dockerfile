# miliary-seg in a container: needs no network when it runs, writes only to the output folder (docs/cluster.md).
# Notice of the image: besides this program (Apache-2.0, NOTICE) it holds the wheels that pip installs, each with its
# licence in *.dist-info. The wheel of OpenCV (152 MB) holds FFmpeg under LGPL-2.1-or-later: who passes on the image
# passes on FFmpeg under these terms (docs/dependencies.md). NOTICE and LICENSE lie in /usr/share/doc/miliary-seg.
FROM python:3.11-slim
LABEL org.opencontainers.image.licenses="Apache-2.0 AND LGPL-2.1-or-later"
COPY . /source
RUN pip install --no-cache-dir "/source[dask,parquet]" \
    && mkdir -p /usr/share/doc/miliary-seg && cp /source/NOTICE /source/LICENSE /usr/share/doc/miliary-seg/ \
    && rm -rf /source
# one thread a worker: cores are shared out by --jobs
ENV OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 1000
WORKDIR /data
ENTRYPOINT ["miliary-seg"]
