"Downloads against a real HTTP server on 127.0.0.1 that misbehaves in every way we could think of; hostile archives."
import hashlib, io, os, signal, stat, subprocess, sys, tarfile, threading, time, zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import pytest
from PIL import Image
from centernet_nb.checks import CenterNetError, DownloadError
from centernet_nb.data import open_image
from centernet_nb.fetch import cache_dir, download, download_many, extract, online

BODY = bytes(os.urandom(1 << 10) * 700)     # 700 KiB
SHA = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    "Answers with what `plan` says, one entry a request: a status, or a number of bytes after which the connection drops; then properly"
    daemon_threads = True

    def __init__(self, body=BODY, plan=(), ranges=True, etag='"one"', lie=None, chunked=False, headers={}):
        super().__init__(('127.0.0.1', 0), Handler)
        self.body, self.plan, self.ranges, self.etag, self.lie, self.chunked, self.extra = body, list(plan), ranges, etag, lie, chunked, headers
        self.seen, self.busy, self.most = [], 0, 0
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(.02,), daemon=True).start()

    def url(self, name='file.bin'): return f'http://127.0.0.1:{self.server_port}/{name}'
    def __exit__(self, *_): self.shutdown(); self.server_close()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_HEAD(self): self.send_response(200); self.end_headers()

    def do_GET(self):
        s = self.server
        with s.lock:
            s.seen.append((self.path, self.headers.get('Range'), self.headers.get('If-Range')))
            step = s.plan.pop(0) if s.plan else None
            s.busy += 1; s.most = max(s.most, s.busy)
        try: self.answer(s, step)
        finally:
            with s.lock: s.busy -= 1

    def answer(self, s, step):
        if isinstance(step, str): self.send_response(302); self.send_header('Location', step); self.send_header('Content-Length', '0'); return self.end_headers()
        if isinstance(step, tuple): status, headers = step
        elif isinstance(step, int) and 400 <= step < 600: status, headers = step, {}
        else: status, headers = 200, {}
        if status != 200:
            self.send_response(status)
            for k, v in {'Content-Length': '0', **headers}.items(): self.send_header(k, v)
            return self.end_headers()
        body = s.body(self.path) if callable(s.body) else s.body
        if body is None: self.send_error(404); return
        start, asked = 0, self.headers.get('Range')
        if s.ranges and asked and self.headers.get('If-Range', s.etag) == s.etag:
            start = int(asked.removeprefix('bytes=').split('-')[0])
            if start >= len(body): self.send_response(416); self.send_header('Content-Length', '0'); return self.end_headers()
        self.send_response(206 if start else 200)
        if start: self.send_header('Content-Range', f'bytes {start}-{len(body) - 1}/{len(body)}')
        if s.etag: self.send_header('ETag', s.etag)
        if not s.chunked: self.send_header('Content-Length', str(s.lie or len(body) - start))
        for k, v in s.extra.items(): self.send_header(k, v)
        self.end_headers()
        part = body[start:]
        if isinstance(step, int): part = part[:step]
        self.wfile.write(part); self.wfile.flush()
        self.close_connection = True


fast = dict(backoff=.01, timeout=2)


def test_plain(tmp_path):
    with Server() as s:
        path = download(s.url(), tmp_path / 'a/b/file.bin', sha256=SHA, md5=hashlib.md5(BODY).hexdigest())
        assert path.read_bytes() == BODY and len(s.seen) == 1
        assert os.listdir(path.parent) == ['file.bin']                 # nothing is left beside it
        download(s.url(), path, sha256=SHA)
        assert len(s.seen) == 1                                        # it is there: nobody is asked
        path.write_bytes(b'spoilt')
        download(s.url(), path, sha256=SHA)
        assert path.read_bytes() == BODY


@pytest.mark.parametrize('etag', ['"one"', None, 'W/"weak"'])
@pytest.mark.parametrize('sha', [SHA, None])
@pytest.mark.parametrize('ranges', [True, False])
def test_dropped_connections(tmp_path, ranges, sha, etag):
    with Server(plan=[100_000, 200_000, 50], ranges=ranges, etag=etag) as s:
        path = download(s.url(), tmp_path / 'file.bin', sha256=sha, **fast)
        assert path.read_bytes() == BODY and len(s.seen) == 4
        resumed = [r for _, r, _ in s.seen if r]
        if sha or etag == '"one"': assert resumed[0] == 'bytes=100000-'
        else: assert not resumed                                       # nothing vouches for the beginning we have: start anew
        if ranges and sha: assert resumed == ['bytes=100000-', 'bytes=300000-', 'bytes=300050-']


def test_file_changes_between_two_tries(tmp_path):
    "Without a checksum the server's ETag keeps us from gluing two versions together"
    with Server(plan=[100_000, 50]) as s:
        with pytest.raises(DownloadError): download(s.url(), tmp_path / 'file.bin', retries=0, **fast)
        assert (tmp_path / 'file.bin.part').stat().st_size == 100_050
        s.body, s.etag = BODY[::-1], '"two"'
        assert download(s.url(), tmp_path / 'file.bin', **fast).read_bytes() == BODY[::-1]
        assert s.seen[-1][2] == '"one"'


HALF = """
import centernet_nb.fetch as f, sys, time
def half(answer, part, *_):
    part.write_bytes(answer.read(3_000_000)); print('now', flush=True); time.sleep(60)
f._receive = half
f.download(sys.argv[1], sys.argv[2], sha256=sys.argv[3])
"""


def test_resumes_after_kill(tmp_path):
    "SIGKILL in the middle: no file of that name, and the next call goes on where it stopped"
    body = BODY * 20
    sha, path = hashlib.sha256(body).hexdigest(), tmp_path / 'file.bin'
    with Server(body=body) as s:
        child = subprocess.Popen([sys.executable, '-c', HALF, s.url(), str(path), sha], stdout=subprocess.PIPE)
        assert child.stdout.readline().strip() == b'now'
        child.send_signal(signal.SIGKILL); child.wait(); child.stdout.close()
        assert not path.exists() and path.with_name('file.bin.part').stat().st_size == 3_000_000
        download(s.url(), path, sha256=sha, **fast)
        assert path.read_bytes() == body and s.seen[-1][1] == 'bytes=3000000-'


def test_truncated_body_is_noticed(tmp_path):
    with Server(lie=len(BODY) + 10) as s, pytest.raises(DownloadError, match='the connection ended after 716,800 of 716,810 bytes'):
        download(s.url(), tmp_path / 'file.bin', retries=1, **fast)
    assert not (tmp_path / 'file.bin').exists()


@pytest.mark.parametrize('status', [503, 500, 502, 429, 408])
def test_busy_server(tmp_path, status):
    with Server(plan=[status, status]) as s:
        assert download(s.url(), tmp_path / 'file.bin', **fast).read_bytes() == BODY and len(s.seen) == 3
    with Server(plan=[status] * 9) as s, pytest.raises(DownloadError, match=f'3 times in a row: the server answered {status}'):
        download(s.url(), tmp_path / 'other.bin', retries=2, **fast)


def test_waits_as_asked(tmp_path):
    start = time.monotonic()
    with Server(plan=[(503, {'Retry-After': '1'})]) as s: download(s.url(), tmp_path / 'file.bin', **fast)
    assert 1 <= time.monotonic() - start < 5


@pytest.mark.parametrize('status', [404, 403, 401, 410])
def test_no_second_try_where_there_is_nothing(tmp_path, status):
    with Server(plan=[status]) as s:
        with pytest.raises(DownloadError, match=str(status)): download(s.url(), tmp_path / 'file.bin', **fast)
        assert len(s.seen) == 1 and not (tmp_path / 'file.bin').exists()


def test_part_longer_than_the_file(tmp_path):
    "416: what we have is no beginning of what there is"
    (tmp_path / 'file.bin.part').write_bytes(BODY * 2)
    with Server() as s: assert download(s.url(), tmp_path / 'file.bin', sha256=SHA, **fast).read_bytes() == BODY


def test_stalled_server(tmp_path):
    with Server() as s:
        handler, calls = Handler.answer, []
        def stall(self, server, step):
            calls.append(1)
            if len(calls) == 1: time.sleep(1.5)
            handler(self, server, step)
        Handler.answer = stall
        try: assert download(s.url(), tmp_path / 'file.bin', timeout=.5, backoff=.01).read_bytes() == BODY
        finally: Handler.answer = handler
        assert len(calls) >= 2


def test_wrong_checksum(tmp_path):
    with Server() as s:
        with pytest.raises(DownloadError, match='its sha256 is'): download(s.url(), tmp_path / 'file.bin', sha256='0' * 64, retries=1, **fast)
        with pytest.raises(DownloadError, match='its md5 is'): download(s.url(), tmp_path / 'file.bin', md5='0' * 32, retries=0, **fast)
        assert len(s.seen) == 3
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('chunked', [False, True])
def test_size_limit(tmp_path, chunked):
    with Server(chunked=chunked) as s:
        with pytest.raises(DownloadError, match='size_limit=100,000'): download(s.url(), tmp_path / 'file.bin', size_limit=100_000, **fast)
        assert not (tmp_path / 'file.bin').exists()
        part = tmp_path / 'file.bin.part'
        assert not part.exists() or part.stat().st_size <= 100_000
        assert download(s.url(), tmp_path / 'file.bin', size_limit=len(BODY), **fast).read_bytes() == BODY


@pytest.mark.parametrize('url', ['http://example.org/a', 'ftp://example.org/a', 'file:///etc/passwd', 'nothing', '', 'https:///a', 'http://127.0.0.1.example.org/'])
def test_only_https(tmp_path, url):
    with pytest.raises(DownloadError): download(url, tmp_path / 'file.bin', retries=0, **fast)
    assert not (tmp_path / 'file.bin').exists()


@pytest.mark.parametrize('target', ['file:///etc/passwd', 'http://example.org/', 'ftp://127.0.0.1/'])
def test_redirect_out_of_https(tmp_path, target):
    with Server(plan=[target]) as s, pytest.raises(CenterNetError): download(s.url(), tmp_path / 'file.bin', retries=0, **fast)


def test_redirect_followed(tmp_path):
    with Server() as there, Server(plan=[there.url('else')]) as s:
        assert download(s.url(), tmp_path / 'file.bin', **fast).read_bytes() == BODY and there.seen[0][0] == '/else'


def test_nobody_listens(tmp_path):
    with Server() as s: url = s.url()
    with pytest.raises(DownloadError, match='no connection'): download(url, tmp_path / 'file.bin', retries=1, **fast)
    assert not online(url, 2)


def test_online_is_quick():
    with Server() as s: assert online(s.url(), 5)
    start = time.monotonic()
    assert not online('192.0.2.1', 1)               # an address nobody has
    assert time.monotonic() - start < 2


def test_two_at_once(tmp_path):
    "Two processes (threads here) that want the same file do not disturb each other"
    with Server(plan=[300_000]) as s:
        jobs = [threading.Thread(target=download, args=(s.url(), tmp_path / 'file.bin'), kwargs=dict(sha256=SHA, **fast)) for _ in range(4)]
        [j.start() for j in jobs]; [j.join() for j in jobs]
        assert (tmp_path / 'file.bin').read_bytes() == BODY and os.listdir(tmp_path) == ['file.bin'] and len(s.seen) == 2


def test_read_only_folder(tmp_path):
    (tmp_path / 'file.bin.part').mkdir()            # as good as any reason why the file cannot be written
    with Server() as s, pytest.raises((DownloadError, OSError)): download(s.url(), tmp_path / 'file.bin', retries=0, **fast)


def jpeg(seed):
    out = io.BytesIO()
    Image.effect_noise((64, 48), 30 + seed).save(out, 'JPEG')
    return out.getvalue()


def test_many_pictures(tmp_path):
    "A server of pictures: some missing, some cut, some no pictures; eight at a time; the rest arrives, and a second call asks only for what failed"
    pictures = {f'/{i}.jpg': jpeg(i) for i in range(40)}
    pictures['/3.jpg'], pictures['/4.jpg'], pictures['/5.jpg'] = None, b'<html>Sorry</html>', pictures['/5.jpg'][:300]
    with Server(body=lambda path: pictures.get(path), plan=[503, 200, 17, 503], ranges=True) as s:
        pairs = [(s.url(f'{i}.jpg'), tmp_path / f'{i}.jpg') for i in range(40)]
        failed = download_many(pairs, workers=8, progress=False, verify=lambda p: open_image(p), retries=3, **fast)
        assert sorted(p.name for _, p, _ in failed) == ['3.jpg', '4.jpg', '5.jpg'] and all(isinstance(e, DownloadError) for *_, e in failed)
        assert sorted(p.name for p in tmp_path.glob('*.jpg')) == sorted(f'{i}.jpg' for i in range(40) if i not in (3, 4, 5))
        assert all((tmp_path / f'{i}.jpg').read_bytes() == pictures[f'/{i}.jpg'] for i in range(6, 40))
        assert 1 < s.most <= 8
        asked, pictures['/3.jpg'] = len(s.seen), jpeg(3)
        again = download_many(pairs, progress=False, verify=lambda p: open_image(p), retries=0, **fast)
        assert sorted(p.name for _, p, _ in again) == ['4.jpg', '5.jpg'] and len(s.seen) - asked == 3


def test_many_give_up(tmp_path):
    with Server(body=lambda path: None) as s:
        pairs = [(s.url(f'{i}'), tmp_path / f'{i}') for i in range(500)]
        assert len(download_many(pairs, workers=4, give_up=10, progress=False, **fast)) == 500
        assert len(s.seen) < 100


def test_cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv('CENTERNET_NB_CACHE', str(tmp_path / 'c'))
    assert cache_dir('x', 'y') == tmp_path / 'c/x/y' and cache_dir('x').is_dir()


# ---- archives

def make_zip(path, *members):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z:
        for name, content, *mode in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if mode: info.external_attr = mode[0] << 16
            z.writestr(info, content)
    return path


def make_tar(path, *members):
    with tarfile.open(path, 'w:gz') as t:
        for name, content, *how in members:
            info = tarfile.TarInfo(name)
            if how: info.type, info.linkname = how
            else: info.size = len(content)
            t.addfile(info, None if how else io.BytesIO(content))
    return path


@pytest.mark.parametrize('make', [make_zip, make_tar])
def test_extract(tmp_path, make):
    a = make(tmp_path / 'archive', ('a.txt', b'one'), ('d/e/b.txt', b'two' * 9999), ('.hidden', b''))
    files = extract(a, tmp_path / 'out')
    assert sorted(f.relative_to(tmp_path / 'out').as_posix() for f in files) == ['.hidden', 'a.txt', 'd/e/b.txt']
    assert (tmp_path / 'out/d/e/b.txt').read_bytes() == b'two' * 9999
    assert [f.name for f in extract(a, tmp_path / 'some', only=lambda n: n.endswith('b.txt'))] == ['b.txt']


@pytest.mark.parametrize('name', ['../evil', 'a/../../evil', '/tmp/evil', 'C:\\evil', '..\\evil', '\\\\host\\share', 'a/b/../../../evil', '..'])
@pytest.mark.parametrize('make', [make_zip, make_tar])
def test_no_escape(tmp_path, make, name):
    a = make(tmp_path / 'archive', ('good.txt', b'fine'), (name, b'evil'))
    with pytest.raises(DownloadError): extract(a, tmp_path / 'in/out')
    assert not (tmp_path / 'in/out/good.txt').exists()          # refused before anything is written
    assert not any(p.name.endswith('evil') for p in tmp_path.rglob('*'))


def test_no_links(tmp_path):
    for how in ((tarfile.SYMTYPE, '/etc/passwd'), (tarfile.LNKTYPE, 'good.txt'), (tarfile.FIFOTYPE, ''), (tarfile.CHRTYPE, '')):
        with pytest.raises(DownloadError): extract(make_tar(tmp_path / 'archive', ('good.txt', b'fine'), ('link', b'', *how)), tmp_path / 'out')
    with pytest.raises(DownloadError): extract(make_zip(tmp_path / 'archive', ('link', b'/etc/passwd', stat.S_IFLNK | 0o777)), tmp_path / 'out')
    assert not list((tmp_path / 'out').rglob('*'))


def test_no_writing_through_a_link_that_is_there(tmp_path):
    (tmp_path / 'out').mkdir(); (tmp_path / 'secret').mkdir()
    (tmp_path / 'out/d').symlink_to(tmp_path / 'secret')
    with pytest.raises(DownloadError): extract(make_zip(tmp_path / 'archive', ('d/file', b'evil')), tmp_path / 'out')
    assert not list((tmp_path / 'secret').iterdir())


@pytest.mark.parametrize('make', [make_zip, make_tar])
def test_bombs(tmp_path, make):
    a = make(tmp_path / 'archive', *((f'{i}', bytes(1 << 20)) for i in range(20)))
    assert a.stat().st_size < 1 << 17
    with pytest.raises(DownloadError, match='unpacks to more'): extract(a, tmp_path / 'out', size_limit=10 << 20)
    with pytest.raises(DownloadError, match='unpacks to more'): extract(a, tmp_path / 'out', files_limit=10)
    assert not list((tmp_path / 'out').iterdir())


def test_zip_that_lies_about_its_sizes(tmp_path):
    a = make_zip(tmp_path / 'archive', ('bomb', bytes(1 << 20)))
    raw = bytearray(a.read_bytes())
    size = (1 << 20).to_bytes(4, 'little')
    while (at := raw.find(size)) >= 0: raw[at:at + 4] = (100).to_bytes(4, 'little')
    a.write_bytes(raw)
    with pytest.raises(DownloadError): extract(a, tmp_path / 'out')
    assert sum(p.stat().st_size for p in (tmp_path / 'out').rglob('*')) <= 1 << 20 and not (tmp_path / 'out/bomb').exists()


def test_broken_archives(tmp_path):
    good = make_zip(tmp_path / 'good', ('a', os.urandom(5000))).read_bytes()
    tar = make_tar(tmp_path / 'goodtar', ('a', os.urandom(5000))).read_bytes()
    for i, raw in enumerate([b'', b'no archive', good[:2000], good[1000:], tar[:2000], good[:100] + b'x' * 50 + good[150:]]):
        (tmp_path / f'{i}').write_bytes(raw)
        with pytest.raises(DownloadError): extract(tmp_path / f'{i}', tmp_path / 'out')
    with pytest.raises(DownloadError): extract(tmp_path / 'not there', tmp_path / 'out')
