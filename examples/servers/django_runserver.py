"""As ``manage.py runserver`` of a project whose command ``runserver`` is this one."""

import django
from django.conf import settings
from django.core.management.commands import runserver
from django.core.servers.basehttp import WSGIServer
from django.http import HttpResponse
from django.urls import path

from dsadapter.frameworks.blocking import DualStackMixin


class DualStackServer(DualStackMixin, WSGIServer):
    pass


class Command(runserver.Command):
    server_cls = DualStackServer


def hello(request):
    return HttpResponse(f"hello {request.META['REMOTE_ADDR']}\n")


urlpatterns = [path("", hello)]

if __name__ == "__main__":
    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)
    django.setup()
    Command().run_from_argv(["manage.py", "runserver", "--noreload", "--ipv6", "[::]:8080"])
