# One-line aliases: everything is in infra/dev.py, which needs no make.
# ARGS go to the job, as in: make test ARGS="-k credit"

.PHONY: help demo test test-slow check bench coverage format lock

help demo test test-slow check bench coverage format lock:
	@python3 infra/dev.py $@ $(ARGS)
