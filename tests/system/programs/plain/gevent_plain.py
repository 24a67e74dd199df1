import gevent.monkey

gevent.monkey.patch_all()

import sys

from application import wsgi
from gevent.pywsgi import WSGIServer

WSGIServer(("::", int(sys.argv[1])), wsgi).serve_forever()
