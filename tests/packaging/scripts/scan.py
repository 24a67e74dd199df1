"""Make Twisted look for plugins and print the modules that its cache then names."""

import json

from twisted import plugins
from twisted.plugin import getCache

print(json.dumps(sorted(getCache(plugins))))
