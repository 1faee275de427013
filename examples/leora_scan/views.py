"""Upload a picture, and get the id of the job that reads it."""

from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from examples.leora_scan.models import ImageScan
from jobq.contrib.django import queue


@require_POST
@login_required
def scan(request: HttpRequest, scan_type: str) -> JsonResponse:
    with transaction.atomic():  # the scan and its job: both, or neither
        made = ImageScan.objects.create(
            user=request.user, image=request.FILES["file"], scan_type=scan_type
        )
        payload = {"scan_id": made.pk, "scan_type": scan_type}
        job = queue.enqueue("image_extraction", payload, owner=str(request.user.pk))
    return JsonResponse({"scanId": made.pk, "jobId": job.id, "status": "processing"})
