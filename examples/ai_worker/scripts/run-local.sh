#!/bin/sh
# A worker on this machine: GEMINI_API_KEY=… GEMINI_RPM=10 ./run-local.sh
set -eu
python -m examples.ai_worker.migrate
exec env PORT="${PORT:-8080}" jobq worker examples.ai_worker.app:queue
