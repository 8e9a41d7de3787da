"""What the tests need beyond Python packages: found, installed by apt when that is possible, or named.

OpenSSH's server and sysstat stand for a real Linux host; Chromium shows the pages. Run by `make test`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# program, where else it may be, Debian's package, what it is for
_NEEDED = (
    ("sshd", ("/usr/sbin/sshd", "/usr/local/sbin/sshd"), "openssh-server", "a real SSH server to log in to"),
    ("iostat", (), "sysstat", "disk figures of this machine"),
    ("chromium", ("/usr/bin/chromium-browser", "/usr/bin/google-chrome"), "chromium", "a browser to look at the pages"),
)


def _present(program: str, elsewhere: tuple[str, ...]) -> bool:
    return shutil.which(program) is not None or any(Path(path).exists() for path in elsewhere)


def _apt_install(packages: list[str]) -> bool:
    """Whether apt-get brought the packages; only tried as root on a Debian."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    print(f"test set-up: installing {' '.join(packages)} with apt-get", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=environment, check=False)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    return subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL).returncode == 0


def _playwright_browser() -> bool:
    """Whether Playwright's own installer brought a Chromium; for systems without the package."""
    print("test set-up: installing Chromium with Playwright's installer", flush=True)
    return subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False).returncode == 0


def main() -> int:
    missing = [entry for entry in _NEEDED if not _present(entry[0], entry[1])]
    if missing and _apt_install([package for _, _, package, _ in missing]):
        missing = [entry for entry in missing if not _present(entry[0], entry[1])]
    if any(entry[0] == "chromium" for entry in missing) and _playwright_browser():
        missing = [entry for entry in missing if entry[0] != "chromium"]
    if not missing:
        print("test set-up: sshd, iostat and Chromium are here")
        return 0
    for program, _, _, purpose in missing:
        print(f"test set-up: {program} is missing ({purpose})", file=sys.stderr)
    packages = " ".join(package for _, _, package, _ in missing)
    print(f"test set-up: type this once:  sudo apt-get install -y {packages}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
