"""Run a command as the owner of the current folder.

bin/dev and bin/test use this if root runs them in another user's checkout. If the owner
is unknown on this machine or cannot use the folder, the command runs as root, with
`STAY_ROOT` set. For the owner, only HOME, USER and LOGNAME change.
"""

import os
import pwd
import sys


def main() -> None:
    """Become the owner, and run the command given as arguments."""
    owner = os.stat(".").st_uid
    try:
        account = pwd.getpwuid(owner)
        os.initgroups(account.pw_name, account.pw_gid)
        os.setegid(account.pw_gid)
        os.seteuid(owner)
        may_enter = os.access(os.getcwd(), os.R_OK | os.W_OK | os.X_OK, effective_ids=True)
        os.seteuid(0)
        os.setegid(0)
        os.initgroups("root", 0)
    except (KeyError, OSError):
        may_enter = False
    if may_enter:
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(owner)
        os.environ.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name)
    else:
        os.environ["STAY_ROOT"] = "1"
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
