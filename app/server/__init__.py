"""gunicorn: the worker. The only code that knows gunicorn or gevent."""
