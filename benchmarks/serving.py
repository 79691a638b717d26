"""`imgcls serve` against the servers that people write themselves, under a load generator of its own (wrk).

    python benchmarks/serving.py compare [--model lite0.onnx] [--seconds 30] [--connections 1 8 32 64]
        requests/s, latency, errors and peak memory of imgcls serve, the usual Flask script (PyTorch), LitServe with
        batches (ONNX Runtime) and FastAPI without (ONNX Runtime), on the same JPEG, one after the other; and what
        decoding and the model cost alone
    python benchmarks/serving.py overload [--seconds 60] [--times 10]
        ten times the load that it can take: what is answered, how fast the rest is refused, memory, and latency after
    python benchmarks/serving.py soak [--requests 200000]
        each answer compared with that of `predict`, one in a hundred images broken, the models loaded anew every 10 s
    python benchmarks/serving.py kills [--times 20]
        SIGTERM under load: requests that were accepted and not answered

Without --model an ONNX file of efficientnet-lite0 is exported first. --model resnet18 takes random weights. LitServe is
started with --litserve-python, an interpreter that has it (`python -m venv`, `pip install litserve`).
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
IMAGE = HERE.parent / "examples" / "ship.jpg"
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "{kind}"
local file = io.open("{body}", "rb"); wrk.body = file:read("*a"); file:close()
done = function(summary, latency)
  io.write(string.format("RESULT %d %d %f %f %f %d\\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(95), latency:percentile(99),
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.timeout))
end
"""


def free_port():
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def memory_mib(pid):
    """Proportional memory of a process and its children."""
    total = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{each}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(found[1]) if found else 0
    return total / 1024


def tree(pid):
    """A process and all below it."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def request_of(name):
    """Content type and body by which a server takes the image."""
    content = IMAGE.read_bytes()
    if "LitServe" not in name:
        return "image/jpeg", content
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    return "multipart/form-data; boundary=x", head + content + b"\r\n--x--\r\n"


def script_of(name, folder):
    """What wrk sends to a server."""
    kind, content = request_of(name)
    body, script = Path(folder) / "request", Path(folder) / "post.lua"
    body.write_bytes(content)
    script.write_text(SCRIPT.replace("{kind}", kind).replace("{body}", str(body)))
    return str(script)


@contextlib.contextmanager
def running(command, port, name="imgcls"):
    """A server as a process, once it answers an image."""
    kind, content = request_of(name)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        end = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if post(port, content, kind=kind)[0] == 200:
                    break
            assert process.poll() is None, f"{command} ended with {process.returncode}"
            assert time.monotonic() < end, command
            time.sleep(0.2)
        yield process
    finally:
        for each in reversed(tree(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            for each in reversed(tree(process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            process.wait()


def post(port, content, connection=None, kind="image/jpeg"):
    """Status and body of one request."""
    ours = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        ours.request("POST", "/v1/predict", content, {"Content-Type": kind})
        response = ours.getresponse()
        return response.status, response.read()
    finally:
        if connection is None:
            ours.close()


def imgcls(model, port, *more):
    """The command of a server of ours."""
    quiet = ("--no-log-requests", "--queue", "256")
    return [sys.executable, "-m", "imgcls", "serve", *model, "--port", str(port), *quiet, *more]


def load(port, connections, seconds, script):
    """What wrk measures: requests/s, p50, p95, p99 in ms, errors."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", script]
    output = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/v1/predict"], capture_output=True, text=True, check=True
    ).stdout
    requests, micros, p50, p95, p99, errors = map(float, re.search(r"RESULT (.*)", output)[1].split())
    return requests / micros * 1e6, p50 / 1000, p95 / 1000, p99 / 1000, int(errors)


class PeakMemory:
    """The most memory that a process and its children had while a block ran, in MiB."""

    def __init__(self, pid):
        self.pid, self.peak, self._over = pid, 0.0, threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self._over.set()
        self._thread.join()

    def _watch(self):
        while not self._over.wait(1.0):
            self.peak = max(self.peak, memory_mib(self.pid))


def alone(model):
    """Median milliseconds of decoding and of the model for one image, and of both, in a process without a server."""
    from imgcls.images.inputs.source import Source
    from imgcls.inference.backends.backend import load_backend
    from imgcls.inference.predictor import Predictor

    predictor = Predictor(load_backend(model).backend)
    source = Source("x", content=IMAGE.read_bytes())

    def median(call, count=200):
        times = []
        for _ in range(count):
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
        return statistics.median(times[10:]) * 1000

    decoded = predictor.decoder.decode(source)
    decode, classify = (
        median(lambda: predictor.decoder.decode(source)),
        median(lambda: predictor.predict_decoded([decoded])),
    )
    return decode, classify


def compare(args, model, spec, folder):
    """The table of the module's docstring."""
    decode, classify = alone(spec)
    print(f"{IMAGE.name}, {args.seconds} s each; alone: decode {decode:.2f} ms, model {classify:.2f} ms per image")
    peer = str(HERE / "serving_others.py")
    torch_model = "efficientnet-lite0" if "lite0" in spec else "resnet18"
    port = free_port()
    servers = {
        "imgcls serve": imgcls(model, port),
        "Flask, PyTorch": [sys.executable, peer, "flask", torch_model, str(port)],
        "FastAPI, ONNX": [sys.executable, peer, "fastapi", spec, str(port)],
    }
    if args.litserve_python:
        for size, wait in ((16, 0.005), (8, 0.002)):
            command = [args.litserve_python, peer, "litserve", spec, str(port), str(size), str(wait)]
            servers[f"LitServe, ONNX, {size}"] = command
    chosen = {name: command for name, command in servers.items() if not args.only or args.only in name}
    print(f"{'server':<22}{'conns':>6}{'req/s':>8}{'p50':>8}{'p95':>8}{'p99':>8}{'errors':>8}{'MiB':>7}")
    for name, command in chosen.items():
        script = script_of(name, folder)
        with running(command, port, name) as process:
            load(port, 8, 3, script)
            for connections in args.connections:
                with PeakMemory(process.pid) as memory:
                    rate, p50, p95, p99, errors = load(port, connections, args.seconds, script)
                print(
                    f"{name:<22}{connections:>6}{rate:>8.1f}{p50:>8.1f}{p95:>8.1f}{p99:>8.1f}{errors:>8}"
                    f"{memory.peak:>7.0f}",
                    flush=True,
                )


def overload(args, model, _spec, folder):
    """Far more than it can do, at a fixed pace, from many connections."""
    port, script = free_port(), script_of("imgcls", folder)
    with running(imgcls(model, port, "--queue", "32"), port) as process:
        load(port, 16, 3, script)
        peak, p50_before, *_ = load(port, 16, 10, script)
        rate = args.times * peak
        before = memory_mib(process.pid)
        # hey's own pace is per connection.
        connections = 200
        command = ["hey", "-z", f"{args.seconds}s", "-c", str(connections), "-q", str(rate / connections), "-m", "POST"]
        command += ["-T", "image/jpeg", "-D", str(IMAGE), "-o", "csv", f"http://127.0.0.1:{port}/v1/predict"]
        memory = []
        started = time.monotonic()
        generator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        reader = threading.Thread(target=lambda: memory.append(generator.stdout.read()))
        reader.start()
        samples = []
        while generator.poll() is None:
            samples.append(memory_mib(process.pid))
            time.sleep(1)
        reader.join()
        seconds = time.monotonic() - started
        rows = [line.split(",") for line in memory[0].splitlines()[1:]]
        by_status = {code: [1000 * float(row[0]) for row in rows if row[6] == code] for code in {r[6] for r in rows}}
        answered, refused = by_status.get("200", []), sorted(by_status.get("503", []))
        print(f"peak without overload: {peak:.0f} answered/s, p50 {p50_before:.1f} ms (16 connections)")
        print(
            f"offered {rate:.0f}/s for {seconds:.0f} s, sent {len(rows) / seconds:.0f}/s: {Counter(r[6] for r in rows)}"
        )
        print(f"answered {len(answered) / seconds:.0f}/s = {len(answered) / seconds / peak:.0%} of the peak")
        if refused:
            p50, p99 = refused[len(refused) // 2], refused[int(0.99 * len(refused))]
            within = sum(each < 50 for each in refused) / len(refused)
            print(f"refused with 503: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {within:.1%} under 50 ms")
        print(f"memory {before:.0f} MiB before, {min(samples):.0f} to {max(samples):.0f} meanwhile")
        time.sleep(5)
        rate_after, p50_after, *_ = load(port, 16, 5, script)
        print(f"5 s later: {rate_after:.0f}/s, p50 {p50_after:.1f} ms; {memory_mib(process.pid):.0f} MiB")


def soak(args, model, _spec, folder):
    """Every answer compared with that of `predict`."""
    from PIL import Image

    folder = Path(folder)
    image = Image.open(IMAGE).convert("RGB")
    files = []
    for number in range(100):
        path = folder / f"{number}.jpg"
        image.rotate(3 * number).save(path, quality=80)
        if number == 99:
            path.write_bytes(path.read_bytes()[:300])
        files.append(path)
    run = subprocess.run(
        [sys.executable, "-m", "imgcls", "predict", *model, "-q", "-f", "json", *map(str, files)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    expected = json.loads(run.stdout)["results"]
    contents = [path.read_bytes() for path in files]
    port, outcomes, counter, lock = free_port(), Counter(), iter(range(args.requests)), threading.Lock()
    with running(imgcls(model, port), port) as process:
        samples, over = [], threading.Event()

        def reload():
            while not over.wait(10):
                process.send_signal(signal.SIGHUP)
                samples.append((time.monotonic(), memory_mib(process.pid)))

        def ask():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            while True:
                with lock:
                    number = next(counter, None)
                if number is None:
                    connection.close()
                    return
                index = number % 100
                try:
                    _status, body = post(port, contents[index], connection=connection)
                    outcome = "right" if same(json.loads(body), expected[index]) else f"wrong: {body[:80]!r}"
                except (OSError, http.client.HTTPException, ValueError) as exc:
                    connection.close()
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                    outcome = f"dropped: {exc!r}"
                with lock:
                    outcomes[outcome] += 1

        threading.Thread(target=reload, daemon=True).start()
        began = time.monotonic()
        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        over.set()
        seconds = time.monotonic() - began
    print(f"{args.requests:,} requests in {seconds:.0f} s, {len(samples)} reloads: {dict(outcomes)}")
    half = samples[len(samples) // 2 :] or samples
    if len(half) > 1:
        per_hour = (half[-1][1] - half[0][1]) / (half[-1][0] - half[0][0]) * 3600
        shown = " ".join(f"{mib:.0f}" for _at, mib in samples)
        print(f"memory at each reload, MiB: {shown}; slope of the second half {per_hour:+.0f} MiB/h")


def same(record, expected):
    """Whether a record is the expected one, but for its name, within 1e-6."""
    if record["status"] != expected["status"]:
        return False
    if record["status"] == "error":
        return record["error"]["kind"] == expected["error"]["kind"]
    pairs = zip(record["predictions"], expected["predictions"], strict=True)
    return all(a["class_id"] == b["class_id"] and abs(a["probability"] - b["probability"]) <= 1e-6 for a, b in pairs)


def kills(args, model, _spec, _folder):
    """SIGTERM under load, again and again."""
    content, outcomes = IMAGE.read_bytes(), Counter()
    for _ in range(args.times):
        port, over, lock = free_port(), threading.Event(), threading.Lock()
        process = subprocess.Popen(imgcls(model, port), stderr=subprocess.DEVNULL)
        while True:
            with contextlib.suppress(OSError):
                post(port, content)
                break
            time.sleep(0.1)

        def ask(port=port, over=over, lock=lock):
            while not over.is_set():
                try:
                    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
                except OSError:
                    with lock:
                        outcomes["not accepted"] += 1
                    return
                with connection:
                    outcome = "accepted and not answered"
                    with contextlib.suppress(OSError):
                        head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: "
                        connection.sendall(head + str(len(content)).encode() + b"\r\n\r\n" + content)
                        answer = b""
                        while chunk := connection.recv(1 << 16):
                            answer += chunk
                        if answer:
                            outcome = answer.split(b" ", 2)[1].decode()
                    with lock:
                        outcomes[outcome] += 1

        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        outcomes[f"exit {process.wait(60)}"] += 1
        over.set()
        for thread in threads:
            thread.join()
    print(f"{args.times} SIGTERMs under load of 16 connections: {dict(outcomes)}")


def main():
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = {"compare": compare, "overload": overload, "soak": soak, "kills": kills}
    parser.add_argument("action", choices=actions)
    parser.add_argument("--model")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--litserve-python")
    parser.add_argument("--only", help="of compare: servers whose names hold this")
    parser.add_argument("--image", type=Path)
    args = parser.parse_args()
    global IMAGE
    IMAGE = (args.image or IMAGE).resolve()
    with tempfile.TemporaryDirectory() as folder:
        spec = args.model
        if spec in (None, "efficientnet-lite0", "resnet18"):
            spec = str(Path(folder) / f"{'resnet18' if args.model == 'resnet18' else 'lite0'}.onnx")
            export(args.model or "efficientnet-lite0", spec, folder)
        actions[args.action](args, ["-m", spec], spec, folder)


def export(name, target, folder):
    """A model as ONNX; ResNet-18 with random weights."""
    more = []
    if name == "resnet18":
        import torch
        from torchvision.models import resnet18

        torch.manual_seed(0)
        weights = Path(folder) / "resnet18.pth"
        torch.save(resnet18(weights=None).state_dict(), weights)
        more = ["--weights", str(weights)]
    subprocess.run(
        [sys.executable, "-m", "imgcls", "export", name, *more, "-o", target], check=True, capture_output=True
    )


if __name__ == "__main__":
    main()
