"""A process that holds the lock of a folder until it is ended: started by tests of locks."""

import os
import sys
import time
from pathlib import Path

from conclip.folder_lock import in_use

if __name__ == "__main__":
    with in_use(Path(sys.argv[1]), beside=len(sys.argv) > 2):
        # As a worker of a `DataLoader`, which may outlive the process that was killed.
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        print("held", flush=True)
        time.sleep(60)
