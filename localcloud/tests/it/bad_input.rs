//! Requests that no client sends by accident: each is refused with the right code, soon, and the cloud serves on.

/// Every operation, by the service models of boto3.
mod operations;
/// What AWS was seen to answer.
mod recorded;

use std::time::{Duration, Instant};

use localcloud::wire::listener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use crate::{
    fake_world::FakeWorld,
    raw::{Served, Unsigned},
};

const MIB: usize = 1024 * 1024;
/// Nothing that is refused may take longer, also on a busy machine.
const SOON: Duration = Duration::from_secs(10);

async fn refused(cloud: &Served, request: &Unsigned) -> (u16, String) {
    let start = Instant::now();
    let answer = cloud.send(&request.signed()).await.expect("an answer");
    assert!(start.elapsed() < SOON, "it took {:?}", start.elapsed());
    let code = answer.code().to_owned();
    if code.is_empty() { (answer.status, answer.body) } else { (answer.status, code) }
}

fn form(body: Vec<u8>) -> Unsigned {
    Unsigned { body, ..Unsigned::query("ec2", &[]) }
}

fn rpc(json: bool, body: Vec<u8>) -> Unsigned {
    let name = "GraniteServiceVersion20100801";
    let (path, header): (String, (&'static str, String)) = if json {
        ("/".to_owned(), ("x-amz-target", format!("{name}.DescribeAlarms")))
    } else {
        (format!("/service/{name}/operation/DescribeAlarms"), ("smithy-protocol", "rpc-v2-cbor".to_owned()))
    };
    Unsigned { path, service: "monitoring", headers: vec![header], body }
}

#[tokio::test]
async fn large_deep_and_repeated_parameters_are_refused() {
    let world = FakeWorld::new();
    let cloud = Served::new(&world, |front| front);
    let large = form(vec![b'a'; 10 * MIB]);
    assert_eq!(refused(&cloud, &large).await, (413, "RequestEntityTooLarge".to_owned()));
    let invalid = |code: &str| (400, code.to_owned());
    let deep = format!("Action=DescribeRegions&{}=1", vec!["A"; 400_000].join("."));
    assert_eq!(refused(&cloud, &form(deep.into_bytes())).await, invalid("InvalidParameterValue"));
    let wide: Vec<String> = (0..100_000).map(|n| format!("A.{n}=")).collect();
    let wide = format!("Action=DescribeRegions&{}", wide.join("&"));
    assert_eq!(refused(&cloud, &form(wide.into_bytes())).await, invalid("InvalidParameterValue"));
    let far = "Action=DescribeRegions&RegionName.1000000000=localcloud&RegionName.99999999999999999999=x";
    assert_eq!(refused(&cloud, &form(far.into())).await, invalid("InvalidParameterValue"));
    for twice in ["Action=DescribeRegions&DryRun=true&DryRun=false", "Action=DescribeRegions&Action=DescribeVpcs"] {
        assert_eq!(refused(&cloud, &form(twice.into())).await, invalid("InvalidParameterValue"), "{twice}");
    }
    assert_eq!(refused(&cloud, &form(b"Action=\xff\xfe".to_vec())).await, invalid("InvalidParameterValue"));
    assert_eq!(refused(&cloud, &form(b"Action=".to_vec())).await, invalid("MissingAction"));
    assert_eq!(cloud.answered("ec2", "DescribeRegions", &[]).await.status, 200);
}

#[tokio::test]
async fn bombs_of_json_and_cbor_are_refused() {
    let world = FakeWorld::new();
    let cloud = Served::new(&world, |front| front);
    let json = [
        "[".repeat(500_000).into_bytes(),
        r#"{"A":"#.repeat(100_000).into_bytes(),
        b"{\"AlarmNames\":[\"a\"".to_vec(),
        b"[1]".to_vec(),
        b"{\"A\":\"\xff\"}".to_vec(),
    ];
    for body in json {
        let (status, said) = refused(&cloud, &rpc(true, body)).await;
        assert!(status == 400 && said.contains("SerializationException"), "{status} {said}");
    }
    let mut nested = vec![0x81_u8; 500_000];
    nested.push(0xf6);
    let cbor = [
        nested,
        // An array, a text, bytes and a map of 2^64 - 1 elements.
        [vec![0x9b], vec![0xff; 8]].concat(),
        [vec![0x7b], vec![0xff; 8]].concat(),
        [vec![0x5b], vec![0xff; 8]].concat(),
        [vec![0xbb], vec![0xff; 8]].concat(),
        // Without an end, and no text as a key.
        vec![0xbf, 0x9f, 0x9f],
        vec![0xa1, 0x01, 0x02],
    ];
    for body in cbor {
        let (status, said) = refused(&cloud, &rpc(false, body)).await;
        assert!(status == 400 && said.contains("SerializationException"), "{status} {said}");
    }
    assert_eq!(cloud.answered("monitoring", "DescribeAlarms", &[]).await.status, 200);
}

#[tokio::test]
async fn a_broken_body_is_refused_and_a_flood_without_signatures_leaves_the_cloud_serving() {
    let world = FakeWorld::new();
    let cloud = Served::new(&world, |front| front);
    let head = "POST /services/compute HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    for chunks in ["ZZZ\r\nabc\r\n0\r\n\r\n", "ffffffffffffffffff\r\n", "-1\r\n\r\n"] {
        let request = format!("{head}transfer-encoding: chunked\r\n\r\n{chunks}");
        let answer = cloud.send(request.as_bytes()).await;
        assert!(answer.is_none_or(|answer| answer.status == 400), "{chunks:?}");
    }
    let endless = format!("{head}transfer-encoding: chunked\r\n\r\n{}", "10\r\n0123456789abcdef\r\n".repeat(200_000));
    let answer = cloud.send(endless.as_bytes()).await.expect("an answer");
    assert_eq!((answer.status, answer.code()), (413, "RequestEntityTooLarge"));

    let unsigned = format!("{head}content-length: 22\r\n\r\nAction=DescribeRegions");
    let start = Instant::now();
    for _ in 0..10 {
        let flood = (0..100).map(|_| cloud.send(unsigned.as_bytes()));
        for answer in futures::future::join_all(flood).await {
            assert_eq!(answer.map(|answer| answer.status), Some(401));
        }
    }
    assert!(start.elapsed() < Duration::from_secs(30), "1000 refusals took {:?}", start.elapsed());
    assert_eq!(cloud.answered("ec2", "DescribeRegions", &[]).await.status, 200);
}

#[tokio::test]
async fn whoever_does_not_end_a_requests_head_is_cut_off() {
    let world = FakeWorld::new();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api");
    let stop = CancellationToken::new();
    let listening = tokio::net::UnixListener::bind(&socket).unwrap();
    let limit = Duration::from_millis(300);
    let serving = tokio::spawn(listener::serve_within(limit, listening, world.front().router(), stop.clone()));
    let mut slow = tokio::net::UnixStream::connect(&socket).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut said = Vec::new();
    let closed = tokio::time::timeout(SOON, slow.read_to_end(&mut said)).await;
    assert!(closed.is_ok(), "it is still served");
    stop.cancel();
    serving.await.unwrap();
}
