"""The design of the first IMAGE CRUD (2014: Python 2, Django 1.5, boto 2), on software that is still maintained: a new database
connection and a new S3 client for each request, all rows on the index, public URLs in the table, originals shown small.
Where it had a fault (a replaced picture is not replaced) this has it too; its third S3 request, which made the object public,
is left out, as buckets are private by policy today."""

import random
import string

import peers.django_settings as common

common.configure(keep_connections=False)

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import Http404, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils import timezone  # noqa: E402

from peers.django_image import Image  # noqa: E402


def index(request):
    html = "<html><head><title>IMAGE CRUD</title></head><body><table><tr>"
    for image in Image.objects.all():
        html += f'<td><a href="{image.name}"><img src="{image.path}" width=100></a></td>'
    return HttpResponse(html + "</tr></table></body></html>")


def picture(request, name):
    if request.method == "POST":
        key = "".join(random.choices(string.ascii_letters, k=8)) + ".jpg"
        store = common.object_store()
        store.head_bucket(Bucket=common.BUCKET)
        store.put_object(Bucket=common.BUCKET, Key=key, Body=request.FILES["file"].read())
        try:
            image = Image.objects.get(name=name)
        except Image.DoesNotExist:
            image = Image(name=name, path=common.public_url(key))
        image.pub_date = timezone.now()
        image.save()
        return HttpResponse()
    try:
        image = Image.objects.get(name=name)
    except Image.DoesNotExist:
        raise Http404 from None
    return HttpResponse(f'<html><body><img src="{image.path}"></body></html>')


urlpatterns = [path("imagecrud/", index), path("imagecrud/<str:name>", picture)]
common.settings.ROOT_URLCONF = __name__
application = get_wsgi_application()
