//! What may be a name.

use crate::stack::{Stack, jpeg};

#[tokio::test(flavor = "multi_thread")]
async fn names_differ_in_case_and_accent_and_agree_in_spelling() {
    let stack = Stack::start().await;
    for (seed, name) in ["Cat", "cat", "c%C3%A1t", "%E5%86%99%E7%9C%9F", "style.css", "a-b_c.d"].into_iter().enumerate()
    {
        assert_eq!(stack.server.post(name, jpeg(seed as u8)).await.status(), 200, "{name}");
        assert_eq!(stack.server.get(&format!("/imagecrud/{name}")).await.status(), 200, "{name}");
    }
    assert_eq!(stack.count("image").await, 6);
    // The decomposed spelling of an accent is the same name.
    assert_eq!(stack.server.post("ca%CC%81t", jpeg(99)).await.status(), 200);
    assert_eq!(stack.count("image").await, 6);
    let html = stack.server.get("/imagecrud/").await.text().await.unwrap();
    for name in ["Cat", "cat", "cát", "写真"] {
        assert!(html.contains(&format!("<a href=\"{name}\">")), "{name}: {html}");
    }
    assert_eq!(stack.server.delete("Cat").await.status(), 200);
    assert_eq!(stack.server.get("/imagecrud/cat").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_name_is_400_to_post_and_404_to_get() {
    let stack = Stack::start().await;
    let long = "a".repeat(129);
    for bad in [
        "%2e%2e",
        "%2E",
        "..%2fx",
        "%2e%2e%2f",
        "%5C",
        "a%5Cb",
        "%00",
        "a%00b",
        "%F0%9F%98%80",
        "a%20b",
        "%3Cscript%3E",
        "%FF",
        "a%E2%80%AEb",
        long.as_str(),
    ] {
        // The client library would tidy `..` away, so the request goes over the wire by hand.
        assert_eq!(by_hand(&stack, "POST", bad).await, 400, "{bad}");
        assert_eq!(by_hand(&stack, "GET", bad).await, 404, "{bad}");
        assert_eq!(by_hand(&stack, "DELETE", bad).await, 404, "{bad}");
    }
    assert_eq!(stack.count("image").await, 0);
    assert_eq!(by_hand(&stack, "DELETE", "").await, 405);
    assert_eq!(by_hand(&stack, "DELETE", "?limit=1&before=5").await, 405);
}

async fn by_hand(stack: &Stack, method: &str, name: &str) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (body, content_type) = crate::stack::form(&jpeg(1));
    let mut stream = tokio::net::TcpStream::connect(&stack.server.address).await.unwrap();
    let head = format!(
        "{method} /imagecrud/{name} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
