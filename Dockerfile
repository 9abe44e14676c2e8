# docker build -t conclip . && docker run --gpus all -v "$PWD:/data" -w /data conclip train --help
FROM python:3.12-slim
COPY . /opt/conclip
RUN pip install --no-cache-dir "/opt/conclip[negate]"
# Models, data and cached embeddings stay in this folder: mount it to keep them.
ENV HF_HOME=/data/huggingface
ENTRYPOINT ["conclip"]
CMD ["--help"]
