"""A command in a terminal of its own: recorded as an asciicast (version 2), and drawn as an SVG that plays once and then
shows the last screen, also where nothing plays."""

import codecs
import fcntl
import html
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pyte

FONT, LINE, ADVANCE, MARGIN = 13, 18, 7.83, 12
COLOURS = {"default": "#d8dee9", "green": "#a3be8c", "red": "#e06c75", "brown": "#ebcb8b", "cyan": "#88c0d0", "blue": "#81a1c1"}
SGR = {"green": 32, "red": 31, "brown": 33, "cyan": 36, "blue": 34}
# A spinner turns faster than anybody reads: so often the screen is kept, and of it the lines that have changed.
FRAME_SECS = 0.4
# No run that is shown takes as long.
LIMIT_SECS = 180


def record(command, shown, environment, directory, columns=100, rows=40, enough=None):
    """Runs it until it ends, or until `enough` is on the screen and Ctrl-C ends it. Returns its asciicast."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=secondary, stdout=secondary, stderr=secondary, cwd=directory,
        env={**environment, "TERM": "xterm-256color"}, start_new_session=True,
    )
    os.close(secondary)
    begun, decoder = time.monotonic(), codecs.getincrementaldecoder("utf-8")("replace")
    screen = pyte.Screen(columns, rows)
    stream = pyte.Stream(screen)
    events = [[0.0, "o", f"$ {shown}\r\n"]]
    until = None
    while True:
        if time.monotonic() - begun > LIMIT_SECS:
            process.kill()
            process.wait()
            raise TimeoutError(f"{shown}: not at its end after {LIMIT_SECS} s, with on its screen:\n" + "\n".join(screen.display))
        readable, _, _ = select.select([primary], [], [], 0.2)
        if readable:
            try:
                data = os.read(primary, 65536)
            except OSError:  # the last that had the terminal is gone
                data = b""
            if not data:
                break
            text = decoder.decode(data)
            events.append([round(time.monotonic() - begun, 3), "o", text])
            stream.feed(text)
        if enough and until is None and enough in "\n".join(screen.display):
            until = time.monotonic() + 2
        if until is not None and time.monotonic() > until:
            process.send_signal(signal.SIGINT)
            until = float("inf")
    process.wait()
    os.close(primary)
    head = {"version": 2, "width": columns, "height": rows, "command": shown, "env": {"TERM": "xterm-256color"}}
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [head, *screens(events, columns, rows)])


def frames(events, screen):
    """The times at which the screen is looked at, with it as it is then."""
    stream = pyte.Stream(screen)
    for at, (when, _, text) in enumerate(events):
        stream.feed(text)
        following = events[at + 1][0] if at + 1 < len(events) else None
        if following is None or int(following / FRAME_SECS) > int(when / FRAME_SECS):
            yield when


def screens(events, columns, rows):
    """The same on the screen, in far fewer bytes."""
    screen, shown = pyte.Screen(columns, rows), [""] * rows
    for when in frames(events, screen):
        changed = ""
        for row in range(rows):
            line = "".join(
                f"\x1b[{SGR[colour]}m{text}\x1b[0m" if colour in SGR else text
                for colour, text in runs_of(screen.buffer[row], columns)
            )
            if line != shown[row]:
                shown[row] = line
                changed += f"\x1b[{row + 1};1H\x1b[2K{line}"
        if changed:
            yield [when, "o", changed]


def draw(cast):
    """The SVG of an asciicast. A line is drawn once for each time that it stays as it is."""
    lines = [json.loads(line) for line in cast.splitlines()]
    head, events = lines[0], lines[1:]
    screen = pyte.Screen(head["width"], head["height"])
    end = events[-1][0]
    since, spans, used = {}, [], 0
    for when in frames(events, screen):
        for row in range(head["height"]):
            drawn = draw_row(screen.buffer[row], head["width"])
            known, begun = since.get(row, ("", 0.0))
            if drawn != known:
                if known:
                    spans.append((row, known, begun, when))
                since[row] = (drawn, when)
            if drawn:
                used = max(used, row + 1)
    spans.extend((row, drawn, begun, None) for row, (drawn, begun) in since.items() if drawn)
    width, height = head["width"] * ADVANCE + 2 * MARGIN, used * LINE + 2 * MARGIN
    texts = "\n".join(text_of(*span) for span in sorted(spans, key=lambda span: (span[0], span[2])))
    title = html.escape(f"{head['command']}: recorded in {end:.0f} seconds")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}" '
        f'role="img" aria-label="{title}"><title>{title}</title>\n'
        f'<rect width="100%" height="100%" rx="6" fill="#23272e"/>\n'
        f'<g font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="{FONT}" fill="{COLOURS["default"]}">'
        f'\n{texts}\n</g></svg>\n'
    )


def runs_of(cells, columns):
    """The text of a row by its colours, without blanks at the end."""
    runs = []
    for column in range(columns):
        if runs and runs[-1][0] == cells[column].fg:
            runs[-1][1] += cells[column].data
        else:
            runs.append([cells[column].fg, cells[column].data])
    while runs and not runs[-1][1].rstrip():
        runs.pop()
    if runs:
        runs[-1][1] = runs[-1][1].rstrip()
    return runs


def draw_row(cells, columns):
    drawn = ""
    for colour, text in runs_of(cells, columns):
        # Renderers differ in what they do with blanks that follow each other, but not with these.
        text = html.escape(text, quote=False).replace(" ", "\u00a0")
        drawn += f'<tspan fill="{COLOURS[colour]}">{text}</tspan>' if colour in SGR else text
    return drawn


def text_of(row, drawn, begun, ended):
    y = MARGIN + row * LINE + FONT
    if ended is None:
        hide = f'<set attributeName="visibility" to="hidden" begin="0s" dur="{begun:.2f}s"/>' if begun > 0 else ""
        return f'<text x="{MARGIN}" y="{y}">{drawn}{hide}</text>'
    show = f'<set attributeName="visibility" to="visible" begin="{begun:.2f}s" dur="{ended - begun:.2f}s"/>'
    return f'<text x="{MARGIN}" y="{y}" visibility="hidden">{drawn}{show}</text>'
