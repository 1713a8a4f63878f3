//! Clouds that do not answer as a cloud does: web pages, half an answer, none, the wrong certificate, another time. One
//! sentence with the address, a hint, exit code 1, and nothing touched.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use clap::Parser as _;
use imagecrud_deploy::cli::Cli;
use imagecrud_deploy::commands;
use imagecrud_deploy::error::Exit;
use imagecrud_deploy::pace::{self, Pace};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::bad_input::{is_refused, program, ran, tree};
use crate::moto::free_port;

/// What is sent in the place of an answer.
#[derive(Clone)]
enum Reply {
    /// These bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, and the connection stays.
    Never,
    /// In the form of the API that was asked: headers, a code, and a message.
    Refusal(String, &'static str, &'static str),
}

fn page(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
    Reply::Bytes(format!("{head}{body}").into_bytes())
}

/// Serves one thing to everybody, until the test ends.
fn serve(reply: Reply) -> u16 {
    serve_over(reply, |stream| stream)
}

fn serve_over<S: Read + Write>(reply: Reply, over: impl Fn(TcpStream) -> S + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (reply, over) = (reply.clone(), over.clone());
            std::thread::spawn(move || answer(over(stream), &reply));
        }
    });
    port
}

fn answer(mut stream: impl Read + Write, reply: &Reply) {
    let mut asked = Vec::new();
    let mut buffer = [0; 4096];
    while !is_whole(&asked) {
        match stream.read(&mut buffer) {
            Ok(length) if length > 0 => asked.extend_from_slice(&buffer[..length]),
            _ => return,
        }
    }
    match reply {
        Reply::Bytes(bytes) => {
            stream.write_all(bytes).ok();
        }
        Reply::Refusal(headers, code, message) => {
            let error = format!("<Code>{code}</Code><Message>{message}</Message>");
            let asked = String::from_utf8_lossy(&asked).into_owned();
            let body = if asked.contains("/ec2/aws4_request") {
                format!("<Response><Errors><Error>{error}</Error></Errors></Response>")
            } else if asked.contains("/s3/aws4_request") {
                format!("<Error>{error}</Error>")
            } else {
                format!("<ErrorResponse><Error>{error}</Error></ErrorResponse>")
            };
            let Reply::Bytes(bytes) = page("403 Forbidden", headers, &body) else { return };
            stream.write_all(&bytes).ok();
        }
        Reply::Never => while stream.read(&mut buffer).is_ok_and(|length| length > 0) {},
    }
}

fn is_whole(request: &[u8]) -> bool {
    // Whoever greets in TLS is answered at once, as web servers do.
    if request.first() == Some(&0x16) {
        return true;
    }
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// A directory from which the program deploys to the cloud at an address.
fn home(address: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let names = ["EC2", "S3", "AWS_ELB", "AWS_AUTO_SCALING", "AWS_CLOUDWATCH", "AWS_IAM"];
    let addresses: String = names.iter().map(|name| format!("{name}_URL={address}\n")).collect();
    let eucarc = format!("{addresses}AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n");
    std::fs::write(home.path().join("eucarc"), eucarc).unwrap();
    std::fs::write(home.path().join("app"), "app").unwrap();
    home
}

const UP: &[&str] = &["up", "--bundle", "app", "--credentials", "eucarc"];
const OTHERS: [&[&str]; 3] = [
    &["status", "--credentials", "eucarc"],
    &["teardown", "--yes", "--credentials", "eucarc"],
    &["plan", "--bundle", "app", "--credentials", "eucarc"],
];

/// `up` fails with these words, and leaves everything as it was.
#[track_caller]
fn fails(address: &str, call: &[&str], words: &str, hint: &str, authority: Option<&Path>) {
    let home = home(address);
    let before = tree(home.path());
    let mut command = program(home.path(), call);
    if let Some(authority) = authority {
        command.env("SSL_CERT_FILE", authority);
    }
    let ran = ran(command);
    println!("{call:?} {address}\n{}", ran.err);
    is_refused(&ran, 1, words, hint);
    assert_eq!(tree(home.path()), before);
}

/// All cases at once, as each waits for pauses between attempts.
fn all<T: Send + 'static>(cases: Vec<T>, check: fn(T)) {
    let threads: Vec<_> = cases.into_iter().map(|case| std::thread::spawn(move || check(case))).collect();
    for thread in threads {
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

#[test]
fn an_answer_that_is_none_of_a_cloud_is_told_with_its_address() {
    const LOG_IN: &str = "<!DOCTYPE html>\n<html><head><title>Log in</title></head><body>Who are you?</body></html>";
    const GATEWAY: &str = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
    const LISTING: &str = "<?xml version=\"1.0\"?><ListAllMyBucketsResult><Buckets><Bucket><Name>imag";
    let address = "is the address right?";
    let cases = vec![
        (page("200 OK", "Content-Type: text/html\r\n", LOG_IN), "is a web page (\u{201c}Log in\u{201d})", address),
        (
            page("502 Bad Gateway", "Content-Type: text/html\r\n", GATEWAY),
            "is a web page (\u{201c}502 Bad Gateway\u{201d})",
            address,
        ),
        (page("404 Not Found", "", "<html>no such page</html>"), "is a web page, and no API", address),
        (page("403 Forbidden", "", "<html>no</html>"), "is a web page, and no API", address),
        (page("200 OK", "", ""), "says nothing: its answer is empty (HTTP 200)", address),
        (page("200 OK", "", LISTING), "has sent XML that breaks off", address),
        (page("200 OK", "", "{\"buckets\": []}"), "has sent something else than XML", address),
        (
            page("200 OK", "", "<Other><Thing/></Other>"),
            "has sent XML that breaks off, or is that of another API",
            address,
        ),
        (
            Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<ListAllMy".to_vec()),
            "broke off in the middle",
            address,
        ),
        (Reply::Bytes(b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()), "it speaks no HTTP", "https://"),
        (Reply::Bytes(Vec::new()), "it closed the connection without an answer", "is the cloud running"),
    ];
    all(cases, |(reply, words, hint)| {
        let address = format!("http://127.0.0.1:{}", serve(reply));
        fails(&address, UP, words, hint, None);
        fails(&address, UP, &address, hint, None);
    });
    all(OTHERS.to_vec(), |call| {
        let address = format!("http://127.0.0.1:{}", serve(page("200 OK", "", LOG_IN)));
        fails(&address, call, "is a web page", "is the address right?", None);
    });
}

#[test]
fn a_cloud_that_cannot_be_reached_is_told_with_its_address() {
    let cases = vec![
        (format!("http://127.0.0.1:{}", free_port()), "Connection refused"),
        ("http://no-such-host.invalid:8773".to_owned(), "http://no-such-host.invalid:8773/"),
    ];
    all(cases, |(address, words)| {
        for call in [UP].iter().chain(&OTHERS) {
            fails(&address, call, words, "is the cloud running", None);
        }
    });
}

#[test]
fn a_cloud_that_hangs_is_left_after_its_limit() {
    let home = home(&format!("http://127.0.0.1:{}", serve(Reply::Never)));
    let before = tree(home.path());
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (bundle, credentials, state) = (path("app"), path("eucarc"), path("state"));
    let words =
        ["imagecrud-deploy", "-q", "--state-dir", &state, "--credentials", &credentials, "up", "--bundle", &bundle];
    let cli = Cli::try_parse_from(words).unwrap();
    let soon = Pace { pauses: 20, limits: 1, answers: 60 };
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(32 << 20).enable_all().build().unwrap();
    let run = async move { tokio::spawn(pace::at(soon, commands::run(cli))).await.unwrap() };
    let failure = runtime.block_on(run).unwrap_err();
    let said = failure.to_string();
    assert_eq!(failure.exit, Exit::Failed, "{said}");
    assert!(said.contains(": no answer within 1s") && said.contains("hint: is the cloud running"), "{said}");
    assert_eq!(tree(home.path()), before);
}

#[test]
fn a_clock_that_is_off_is_told_with_how_far_it_is_off() {
    let date = |hours: i64| {
        let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
        format!("Date: {}\r\n", then.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    };
    let skewed = |headers: String| {
        let message = "The difference between the request time and the current time is too large.";
        Reply::Refusal(headers, "RequestTimeTooSkewed", message)
    };
    let expired = |hours| Reply::Refusal(date(hours), "SignatureDoesNotMatch", "Signature expired");
    let cases = vec![
        (skewed(date(3)), "the clock of this machine is 1", "behind the cloud's"),
        (skewed(date(-30)), "the clock of this machine is 1", "ahead of the cloud's"),
        (expired(2), "the clock of this machine is 1", "behind the cloud's"),
        (skewed(String::new()), "time is too large. (RequestTimeTooSkewed)", "RequestTimeTooSkewed"),
    ];
    all(cases, |(reply, words, which)| {
        let address = format!("http://127.0.0.1:{}", serve(reply));
        fails(&address, UP, words, "set the clock right", None);
        fails(&address, UP, which, "set the clock right", None);
    });
    // Credentials that are plainly wrong are not put on the clock.
    let wrong = Reply::Refusal(date(0), "InvalidAccessKeyId", "It does not exist.");
    let address = format!("http://127.0.0.1:{}", serve(wrong));
    fails(&address, UP, "It does not exist. (InvalidAccessKeyId)", "does not accept these credentials", None);
}

#[test]
fn aws_that_cannot_be_asked_is_told_with_the_reason() {
    let home = home("http://127.0.0.1:1");
    let before = tree(home.path());
    let aws = |variables: &[(&str, &str)]| {
        let mut command = program(home.path(), &["up", "--cloud", "aws", "--bundle", "app"]);
        for name in ["AWS_PROFILE", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            command.env_remove(name);
        }
        // Whoever runs this may do so on a VM of AWS.
        command.env("AWS_EC2_METADATA_DISABLED", "true").envs(variables.iter().copied());
        let ran = ran(command);
        println!("{variables:?}\n{}", ran.err);
        assert_eq!(tree(home.path()), before);
        ran
    };
    let address = format!("http://127.0.0.1:{}", serve(page("200 OK", "", "<html><title>Log in</title></html>")));
    let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    let region = ("AWS_REGION", "eu-west-1");
    is_refused(&aws(&keys), 1, "choosing the region: none is set", "AWS_REGION");
    is_refused(&aws(&[keys[0], keys[1], ("AWS_REGION", "not a region")]), 2, "the region `not a region`", "eu-west-1");
    is_refused(&aws(&[region]), 1, "this machine has no credentials for AWS", "aws configure");
    let led = [keys[0], keys[1], region, ("AWS_ENDPOINT_URL", &address)];
    is_refused(&aws(&led), 1, "what answers at AWS (", "is the address right?");
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").current_dir(directory).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// As `serve`, by TLS.
fn serve_by_tls(directory: &Path, name: &str, reply: Reply) -> u16 {
    let chain = CertificateDer::pem_file_iter(directory.join(format!("{name}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join(format!("{name}.key"))).unwrap();
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain.map(Result::unwrap).collect(), key);
    let config = Arc::new(config.unwrap());
    serve_over(reply, move |stream| StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream))
}

#[test]
fn tls_that_fails_is_told_with_the_reason() {
    let keys = tempfile::tempdir().unwrap();
    let new_key = ["-newkey", "rsa:2048", "-nodes"];
    let certificate = |name: &str, host: &str, days: &str| {
        openssl(
            keys.path(),
            &[&["req"], &new_key[..], &["-keyout", &format!("{name}.key"), "-out", "request", "-subj", "/CN=x"]]
                .concat(),
        );
        std::fs::write(keys.path().join("names"), format!("subjectAltName={host}\n")).unwrap();
        let out = format!("{name}.pem");
        let sign =
            ["x509", "-req", "-in", "request", "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial"];
        openssl(keys.path(), &[&sign[..], &["-days", days, "-extfile", "names", "-out", &out]].concat());
    };
    openssl(
        keys.path(),
        &[
            &["req", "-x509"],
            &new_key[..],
            &["-keyout", "authority.key", "-out", "authority.pem", "-days", "2", "-subj", "/CN=authority"],
        ]
        .concat(),
    );
    certificate("good", "IP:127.0.0.1", "2");
    certificate("expired", "IP:127.0.0.1", "-1");
    certificate("elsewhere", "DNS:elsewhere.example", "2");
    let web_page = page("200 OK", "", "<html></html>");
    let [good, expired, elsewhere] =
        ["good", "expired", "elsewhere"].map(|name| serve_by_tls(keys.path(), name, web_page.clone()));
    let authority = keys.path().join("authority.pem");
    let at = |port: u16| format!("https://127.0.0.1:{port}");
    let plain = serve(web_page.clone());
    let add = "add that to those of the system, or name its file in SSL_CERT_FILE";
    let cases = vec![
        (at(good), "nobody that this machine trusts has signed its certificate", add, None),
        // The same one, once its authority is known: then it is the page that is wrong.
        (at(good), "is a web page", "is the address right?", Some(authority.clone())),
        (at(expired), "its certificate has expired", "renew", Some(authority.clone())),
        (at(elsewhere), "its certificate is for another name", "write the name", Some(authority.clone())),
        (at(plain), "it speaks no TLS", "http://", None),
        (format!("http://127.0.0.1:{good}"), "it speaks no HTTP", "https://", None),
    ];
    all(cases, |(address, words, hint, authority)| fails(&address, UP, words, hint, authority.as_deref()));
}
