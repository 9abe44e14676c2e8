"""A process that holds the lock of a folder until it is ended: started by tests of locks."""

import os
import sys
import time
from pathlib import Path

from conclip.folder_lock import in_use

if __name__ == "__main__":
    with in_use(Path(sys.argv[1]), beside=len(sys.argv) > 2):
        # As a worker of a `DataLoader`, which may outlive the process that was killed. It closes the lock file before
        # `fork` returns in it; on a busy machine that may take a while.
        ready, child = os.pipe()
        if os.fork() == 0:
            os.write(child, b"1")
            time.sleep(60)
            os._exit(0)
        os.read(ready, 1)
        print("held", flush=True)
        time.sleep(60)
