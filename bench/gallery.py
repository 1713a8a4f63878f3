"""The gallery beside its peers, in one run on one MariaDB and one S3: the design of the first IMAGE CRUD on Django 5.2, a tuned
variant of it, and nginx that serves the same page as a file. What is measured runs on one core alone; load, MariaDB and S3 on
the other. CPU time is that of the server's processes, from the kernel, divided by the requests that were answered.

    bench/gallery.sh [RUNS] [SECONDS] [ROWS]

Prints tables for bench/RESULTS.md. Needs two cores, root (for the local cloud, whose S3 is used), and built programs.
"""

import concurrent.futures
import contextlib
import http.client
import io
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import boto3
import eucarc
import MySQLdb
import PIL.Image

from real_cloud import descendants

HERE = pathlib.Path(__file__).parent
PROGRAMS = pathlib.Path(os.environ.get("BENCH_PROGRAMS", HERE.parent / "target/debug"))
LOAD_CORE, SERVER_CORE = 0, 1
TICK = os.sysconf("SC_CLK_TCK")
BUCKET, MYSQL_PORT, CLOUD_PORT = "bench-pictures", "18306", "18798"
PORTS = {
    "ours": 18401,
    "ours without thumbnails": 18402,
    "original design": 18403,
    "tuned": 18404,
    "tuned, presigned": 18405,
    "nginx": 18406,
}


def on(core, *command):
    return ["taskset", "-c", str(core), *map(str, command)]


def cpu_secs(root):
    """Of a process and all that it has started, those that have ended included."""
    total = 0
    for process in descendants(root):
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
            total += sum(map(int, fields[11:15]))
    return total / TICK


def answers(port, path="/imagecrud/"):
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path, headers={"Accept": "text/html"})
        answer = connection.getresponse()
        return (answer.status, answer.read())
    return (0, b"")


def until(condition, limit=60):
    begun = time.perf_counter()
    while not (found := condition()):
        if time.perf_counter() - begun > limit:
            raise TimeoutError("what was waited for has not come")
        time.sleep(0.005)
    return found


class Bench:
    def __init__(self, work):
        self.work, self.processes, self.cloud_environment = work, {}, None

    def start(self, name, command, **environment):
        log = (self.work / f"{name.replace(' ', '-')}.log").open("w")
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **environment}, start_new_session=True
        )
        self.processes[name] = process
        return process

    def end(self, name):
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def database(self):
        data = self.work / "mysql"
        subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={data}",
                "--user=root",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            check=True,
            capture_output=True,
        )
        init = self.work / "init.sql"
        # One statement a line.
        init.write_text(
            "CREATE DATABASE eucapp;\nCREATE DATABASE peers;\nCREATE USER bench@'%' IDENTIFIED BY 'bench';\nGRANT ALL ON *.* TO bench@'%';\n"
        )
        self.start(
            "mariadb",
            on(
                LOAD_CORE,
                "mariadbd",
                "--no-defaults",
                "--user=root",
                f"--datadir={data}",
                f"--socket={self.work}/mysql.sock",
                f"--init-file={init}",
                f"--port={MYSQL_PORT}",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                "--skip-log-bin",
                "--innodb-buffer-pool-size=512M",
                "--innodb-flush-log-at-trx-commit=2",
            ),
        )
        until(lambda: self.sql("peers", "SELECT 1", quiet=True))
        self.sql(
            "peers",
            "CREATE TABLE image (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(200) NOT NULL, path VARCHAR(500) NOT NULL, pub_date DATETIME(6) NOT NULL, KEY (name))",
        )

    def sql(self, database, *statements, quiet=False):
        try:
            with contextlib.closing(
                MySQLdb.connect(
                    host="127.0.0.1",
                    port=int(MYSQL_PORT),
                    user="bench",
                    password="bench",
                    database=database,
                    autocommit=True,
                )
            ) as connection:
                cursor = connection.cursor()
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() or True
        except MySQLdb.Error:
            if quiet:
                return None
            raise

    def cloud(self):
        self.cloud_environment = {
            **os.environ,
            "LOCALCLOUD_STATE_DIR": str(self.work / "cloud"),
            "LOCALCLOUD_PORT": CLOUD_PORT,
            "LOCALCLOUD_PUBLIC_SUBNET": "127.93",
        }
        subprocess.run(
            on(LOAD_CORE, PROGRAMS / "localcloud", "serve", "--detach"),
            check=True,
            env=self.cloud_environment,
            capture_output=True,
        )
        variables = eucarc.read(self.work / "cloud/eucarc")
        self.s3 = {
            "AWS_ACCESS_KEY_ID": variables["AWS_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": variables["AWS_SECRET_ACCESS_KEY"],
            "S3_ENDPOINT": variables["S3_URL"],
            "S3_BUCKET": BUCKET,
            "AWS_REGION": "localcloud",
            "AWS_DEFAULT_REGION": "localcloud",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        boto3.client(
            "s3",
            endpoint_url=variables["S3_URL"],
            region_name="localcloud",
            aws_access_key_id=self.s3["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.s3["AWS_SECRET_ACCESS_KEY"],
        ).create_bucket(Bucket=BUCKET)

    def ours(self, name="ours", **more):
        environment = {
            **self.s3,
            "LISTEN_ADDRESS": f"127.0.0.1:{PORTS[name]}",
            "DATABASE_URL": f"mysql://bench:bench@127.0.0.1:{MYSQL_PORT}/eucapp",
            "S3_FORCE_PATH_STYLE": "true",
            "DRAIN_SECONDS": "0",
            **more,
        }
        self.start(name, on(SERVER_CORE, PROGRAMS / "imagecrud", "serve"), **environment)
        until(lambda: answers(PORTS[name])[0] == 200)

    def django(self, name, module, *options, **more):
        gunicorn = [
            sys.executable,
            "-m",
            "gunicorn",
            "--bind",
            f"127.0.0.1:{PORTS[name]}",
            "--chdir",
            HERE,
            *options,
            f"peers.{module}:application",
        ]
        self.start(name, on(SERVER_CORE, *gunicorn), BENCH_MYSQL_PORT=MYSQL_PORT, **self.s3, **more)
        until(lambda: answers(PORTS[name])[0] == 200)

    def nginx(self, page):
        root = self.work / "www"
        (root / "imagecrud").mkdir(parents=True)
        (root / "imagecrud/index.html").write_bytes(page)
        config = self.work / "nginx.conf"
        config.write_text(
            f"daemon off; user root; worker_processes 1; error_log stderr; pid {self.work}/nginx.pid; events {{}} http {{ access_log off; sendfile on; open_file_cache max=10; default_type text/html; client_body_temp_path {self.work}/nb; proxy_temp_path {self.work}/np; fastcgi_temp_path {self.work}/nf; uwsgi_temp_path {self.work}/nu; scgi_temp_path {self.work}/ns; server {{ listen 127.0.0.1:{PORTS['nginx']}; root {root}; }} }}"
        )
        self.start("nginx", on(SERVER_CORE, "nginx", "-c", config))
        until(lambda: answers(PORTS["nginx"])[0] == 200)

    def rows(self, count):
        """So many of ours; a hundred of the original's design, which shows all that there are."""
        # Made by the database itself, in doubling steps of its own sequence table.
        self.sql(
            "eucapp",
            "DELETE FROM image",
            f"INSERT INTO image (name, okey, tkey, ctype, bytes, w, h, sha256, created, updated) SELECT CONCAT('picture-', LPAD(seq, 8, '0')), CONCAT('p/', LPAD(LOWER(CONV(seq, 10, 32)), 26, '0')), CONCAT('t/', LPAD(LOWER(CONV(seq, 10, 32)), 26, '0')), 'image/jpeg', 70000, 640, 480, UNHEX(SHA2(seq, 256)), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM seq_1_to_{count}",
            "ANALYZE TABLE image",
        )

    def load(self, name, secs, connections=8):
        """Pages a second, and CPU milliseconds a page of the server and of MariaDB."""
        server, database = self.processes[name].pid, self.processes["mariadb"].pid
        before = cpu_secs(server), cpu_secs(database)
        wrk = subprocess.run(
            on(
                LOAD_CORE,
                "wrk",
                "-t1",
                f"-c{connections}",
                f"-d{secs}s",
                "-H",
                "Accept: text/html",
                f"http://127.0.0.1:{PORTS[name]}/imagecrud/",
            ),
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        after = cpu_secs(server), cpu_secs(database)
        if "Non-2xx" in wrk:
            sys.exit(f"{name}: {wrk}")
        requests, rate = int(re.search(r"(\d+) requests in", wrk)[1]), float(
            re.search(r"Requests/sec:\s+([\d.]+)", wrk)[1]
        )
        return rate, *((after[i] - before[i]) * 1000 / requests for i in range(2))

    def uploads(self, name, secs, jobs=8):
        server = self.processes[name].pid
        before = cpu_secs(server)
        out = subprocess.run(
            on(
                LOAD_CORE,
                PROGRAMS / "imagecrud",
                "upload-many",
                "-j",
                jobs,
                "--duration",
                f"{secs}s",
                HERE.parent / "sample",
                f"http://127.0.0.1:{PORTS[name]}/imagecrud/",
            ),
            capture_output=True,
            text=True,
        )
        if out.returncode:
            sys.exit(f"{name}: {out.stdout}{out.stderr}")
        count, rate = int(re.search(r"uploaded (\d+)", out.stdout)[1]), float(re.search(r"([\d.]+)/s", out.stdout)[1])
        return rate, (cpu_secs(server) - before) * 1000 / count

    def large_uploads(self, name, count=64):
        """The peak of resident memory in MiB while so many pictures of 20 MB come at once, and how often one was sent again."""
        picture = large_jpeg()
        process = next(
            p
            for p in descendants(self.processes[name].pid)
            if "imagecrud" in pathlib.Path(f"/proc/{p}/comm").read_text()
        )
        pathlib.Path(f"/proc/{process}/clear_refs").write_text("5")
        again = 0

        def send(number):
            nonlocal again
            while True:
                boundary = "cut"
                head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="x.jpg"\r\n\r\n'.encode()
                connection = http.client.HTTPConnection("127.0.0.1", PORTS[name], timeout=300)
                connection.request(
                    "POST",
                    f"/imagecrud/large{number}",
                    body=head + picture + f"\r\n--{boundary}--\r\n".encode(),
                    headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
                )
                status = connection.getresponse().status
                if status == 200:
                    return
                if status != 503:
                    sys.exit(f"a large upload: {status}")
                again += 1
                time.sleep(2)

        begun = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            list(pool.map(send, range(count)))
        took = time.perf_counter() - begun
        peak = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{process}/status").read_text())[1]) / 1024
        return len(picture) / 1e6, peak, took, again

    def cold_start(self):
        """Milliseconds from the start of the program to its first answer, and to the first page."""
        name = "ours"
        if name in self.processes:
            self.end(name)
        environment = {
            **self.s3,
            "LISTEN_ADDRESS": f"127.0.0.1:{PORTS[name]}",
            "DATABASE_URL": f"mysql://bench:bench@127.0.0.1:{MYSQL_PORT}/eucapp",
            "S3_FORCE_PATH_STYLE": "true",
            "DRAIN_SECONDS": "0",
        }
        begun = time.perf_counter()
        self.start(name, on(SERVER_CORE, PROGRAMS / "imagecrud", "serve"), **environment)
        until(lambda: answers(PORTS[name], "/healthz")[0] == 200)
        first = time.perf_counter() - begun
        until(lambda: answers(PORTS[name])[0] == 200)
        return first * 1000, (time.perf_counter() - begun) * 1000

    def close(self):
        for name in reversed(list(self.processes)):
            self.end(name)
        # Never another cloud of this machine.
        if self.cloud_environment:
            subprocess.run(
                [PROGRAMS / "localcloud", "reset", "--yes"], env=self.cloud_environment, capture_output=True
            )


def large_jpeg():
    """Noise does not compress: 20 MB."""
    width, height = 4200, 3100
    noise = PIL.Image.frombytes("RGB", (width, height), os.urandom(width * height * 3))
    for quality in range(70, 100):
        out = io.BytesIO()
        noise.save(out, "JPEG", quality=quality)
        if out.tell() >= 19_000_000:
            break
    # What is missing stands behind the end: it is sent, and thrown away.
    return out.getvalue().ljust(20_000_000, b"\0")


def shown(values, digits=3):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def main():
    runs, secs, many = (
        int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 3), (2, 4), (3, 1_000_000))
    )
    work = pathlib.Path(tempfile.mkdtemp(prefix="gallery-bench."))
    bench = Bench(work)
    try:
        bench.database()
        bench.cloud()
        bench.ours()
        bench.rows(1000)
        bench.sql(
            "peers",
            f"INSERT INTO image (name, path, pub_date) SELECT CONCAT('picture-', LPAD(seq, 8, '0')), CONCAT('{bench.s3['S3_ENDPOINT']}/{BUCKET}/', LPAD(seq, 26, 'a')), NOW() FROM seq_1_to_100",
        )
        page = answers(PORTS["ours"])[1]
        assert page.count(b"<img ") == 100
        bench.django("original design", "django_original", "--workers", "2")
        bench.django("tuned", "django_tuned", "--worker-class", "gthread", "--threads", "4", "--keep-alive", "75")
        bench.django(
            "tuned, presigned",
            "django_tuned",
            "--worker-class",
            "gthread",
            "--threads",
            "4",
            "--keep-alive",
            "75",
            PRESIGNED="1",
        )
        bench.nginx(page)
        names = ["ours", "original design", "tuned", "tuned, presigned", "nginx"]
        found = {name: [] for name in names}
        for name in names:
            bench.load(name, 1)
        for _ in range(runs):
            for name in names:
                found[name].append(bench.load(name, secs))
        base = statistics.median(cpu for _, cpu, _ in found["ours"])
        print(
            f"\nIndex page of 100 pictures ({len(page)} bytes of ours), {runs} runs of {secs} s in turn, 8 connections:\n"
        )
        print(
            "| server | CPU-ms a page | of ours | pages/s on its core | MariaDB, CPU-ms a page |\n| --- | --- | --- | --- | --- |"
        )
        for name in names:
            rates, cpu, database = zip(*found[name])
            print(
                f"| {name} | {shown(cpu)} | {statistics.median(cpu) / base:.1f} × | {shown(rates, 0)} | {shown(database)} |",
                flush=True,
            )
        few = [bench.load("ours", secs) for _ in range(runs)]
        bench.rows(many)
        bench.load("ours", 1)
        lots = [bench.load("ours", secs) for _ in range(runs)]
        print(
            f"\nOurs at 1,000 rows and at {many:,}:\n\n| rows | CPU-ms a page | MariaDB, CPU-ms a page | pages/s |\n| --- | --- | --- | --- |"
        )
        for label, samples in (("1,000", few), (f"{many:,}", lots)):
            rates, cpu, database = zip(*samples)
            print(f"| {label} | {shown(cpu)} | {shown(database)} | {shown(rates, 0)} |", flush=True)
        bench.rows(1000)
        bench.ours("ours without thumbnails", THUMBNAILS="false")
        names = ["ours", "ours without thumbnails", "original design", "tuned"]
        found = {name: [] for name in names}
        for _ in range(runs):
            for name in names:
                found[name].append(bench.uploads(name, secs))
        print(
            "\nUploads of the sample pictures, 8 at once; ours makes thumbnails, the others do not:\n\n| server | CPU-ms an upload | so at most, /s on a core | uploads/s in this run |\n| --- | --- | --- | --- |"
        )
        for name in names:
            rates, cpu = zip(*found[name])
            print(f"| {name} | {shown(cpu, 2)} | {1000 / statistics.median(cpu):.0f} | {shown(rates, 0)} |", flush=True)
        megabytes, peak, took, again = bench.large_uploads("ours")
        print(
            f"\n64 uploads of {megabytes:.0f} MB at once: peak of resident memory {peak:.0f} MiB, in {took:.0f} s, {again} sent again after a 503",
            flush=True,
        )
        starts = [bench.cold_start() for _ in range(10)]
        print(
            f"Cold start: first answer after {shown([first for first, _ in starts], 0)} ms, first page after {shown([page for _, page in starts], 0)} ms"
        )
    finally:
        bench.close()
        os.environ.get("BENCH_KEEP") or shutil.rmtree(work, ignore_errors=True)


main()
