"""Scans, the routes of jobs with the endpoint that works, and the admin."""

from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import path

from examples.leora_scan.views import scan
from jobq.contrib.django.http import current_user, jobs_urls
from jobq.http import Owner

everyone_his_own = Owner(current_user, sees_all=lambda request: request.user.is_staff)

urlpatterns = [
    path("api/scan/business-card", scan, {"scan_type": "business_card"}),
    path("api/scan/license", scan, {"scan_type": "liquor_license"}),
    *jobs_urls("api/jobs", access=everyone_his_own),
    path("login", LoginView.as_view(template_name="admin/login.html")),
    path("admin/", admin.site.urls),
]
