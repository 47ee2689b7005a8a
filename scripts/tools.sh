#!/bin/sh
# Puts the project's tools under .tools/. See scripts/tools.py, which does the work.
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
	echo "tools: $python is missing or older than 3.10: install Python, or set PYTHON" >&2
	exit 1
fi
exec "$python" scripts/tools.py "$@"
