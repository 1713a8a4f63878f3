"""What both Django galleries have in common: no sessions, no admin, and the database of the run."""

import os

import django
from django.conf import settings


def configure(keep_connections):
    settings.configure(
        DEBUG=False,
        SECRET_KEY=os.urandom(16).hex(),
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=None,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.mysql",
                "NAME": "peers",
                "USER": "bench",
                "PASSWORD": "bench",
                "HOST": "127.0.0.1",
                "PORT": os.environ["BENCH_MYSQL_PORT"],
                "CONN_MAX_AGE": 600 if keep_connections else 0,
            }
        },
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATA_UPLOAD_MAX_MEMORY_SIZE=26 * 1024 * 1024,
        INSTALLED_APPS=[],
        USE_TZ=True,
    )
    django.setup()


def object_store():
    import boto3

    return boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name="localcloud")


BUCKET = os.environ["S3_BUCKET"]


def public_url(key):
    return f"{os.environ['S3_ENDPOINT']}/{BUCKET}/{key}"
