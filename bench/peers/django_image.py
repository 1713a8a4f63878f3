"""The one table of both Django galleries. To be imported once the settings are there."""

from django.db import models


class Image(models.Model):
    name = models.CharField(max_length=200)
    path = models.CharField(max_length=500)
    pub_date = models.DateTimeField()

    class Meta:
        app_label = "peers"
        db_table = "image"
