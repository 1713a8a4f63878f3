"""The same application as somebody who knows Django would tune it: kept connections, one S3 client, a page of 100 that is read
as tuples by the primary key, a compiled template. PRESIGNED=1 signs the hundred URLs by boto3, as private buckets need.
"""

import os
import secrets

import peers.django_settings as common

common.configure(keep_connections=True)

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.template import Context, Engine  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils import timezone  # noqa: E402

from peers.django_image import Image  # noqa: E402

STORE = common.object_store()
PRESIGNED = os.environ.get("PRESIGNED") == "1"
PAGE = Engine().from_string(
    "<!doctype html><html><head><title>IMAGE CRUD</title></head><body><ul>"
    '{% for name, url in images %}<li><a href="{{ name }}"><img src="{{ url }}" width="320" loading="lazy" alt="{{ name }}"></a>'
    "<p>{{ name }}</p></li>{% endfor %}</ul></body></html>"
)


def signed(url):
    key = url.rsplit("/", 1)[1]
    return STORE.generate_presigned_url("get_object", Params={"Bucket": common.BUCKET, "Key": key})


def index(request):
    images = Image.objects.order_by("-id").values_list("name", "path")[:100]
    if PRESIGNED:
        images = [(name, signed(url)) for name, url in images]
    return HttpResponse(PAGE.render(Context({"images": images})))


def picture(request, name):
    key = secrets.token_hex(13)
    STORE.put_object(Bucket=common.BUCKET, Key=key, Body=request.FILES["file"])
    Image.objects.create(name=name, path=common.public_url(key), pub_date=timezone.now())
    return HttpResponse()


urlpatterns = [path("imagecrud/", index), path("imagecrud/<str:name>", picture)]
common.settings.ROOT_URLCONF = __name__
application = get_wsgi_application()
