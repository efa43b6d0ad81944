#!/bin/sh
# Makes a repository with two worktrees in a temporary directory, runs the program of both at once, asks both, ends both.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/main"
cp "$here/minato.toml" "$here/app.py" "$work/main"
cd "$work/main"
git init --quiet --initial-branch main
git add .
git -c user.name=you -c user.email=you@localhost commit --quiet --message "A program"
git worktree add --quiet -b feature/login ../login

for tree in main login; do
    cd "$work/$tree"
    minato up -d --instance "$(git branch --show-current)"
done
for tree in main login; do
    cd "$work/$tree"
    # Each says in its log where it is reached.
    url=$(minato logs --instance "$(git branch --show-current)" web | sed -n 's/.*reached at //p')
    curl --silent --show-error --fail "$url"
done
for tree in main login; do
    cd "$work/$tree"
    minato down --instance "$(git branch --show-current)"
done
