import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], DEBUG=True, SECRET_KEY="x")


def hello(request):
    return HttpResponse(f"hello {request.META['REMOTE_ADDR']}\n")


urlpatterns = [path("", hello)]
execute_from_command_line([sys.argv[0], "runserver", "--noreload", f"[::]:{sys.argv[1]}"])
