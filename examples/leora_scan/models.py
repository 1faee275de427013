"""A scan, and what was read from it."""

from django.conf import settings
from django.db import models


class ImageScan(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    image = models.FileField(upload_to="scans")
    scan_type = models.CharField(max_length=20)
    status = models.CharField(max_length=20, default="processing")


class Contact(models.Model):
    scan = models.ForeignKey(ImageScan, models.CASCADE)
    name = models.TextField()
    company = models.TextField()
