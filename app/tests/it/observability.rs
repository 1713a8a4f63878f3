//! What operators see: metrics, request ids, log lines.

use reqwest::header;

use crate::stack::{Stack, eventually, jpeg};

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_by_route_and_status_and_never_by_what_a_client_wrote() {
    let stack = Stack::start().await;
    stack.server.post("cat", jpeg(1)).await;
    for name in ["cat", "nobody-1", "nobody-2"] {
        stack.server.get(&format!("/imagecrud/{name}")).await;
    }
    stack.server.get("/nobody-3").await;
    let response = stack.server.get("/metrics").await;
    assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = response.text().await.unwrap();
    for line in [
        "imagecrud_http_requests_total{route=\"/imagecrud/{name}\",method=\"POST\",status=\"200\"} 1",
        "imagecrud_http_requests_total{route=\"/imagecrud/{name}\",method=\"GET\",status=\"404\"} 2",
        "imagecrud_http_request_duration_seconds_count{route=\"/imagecrud/{name}\"} 4",
        "imagecrud_pictures_kept_total 1",
        "imagecrud_uploads_in_hand 0",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
    assert!(!text.contains("nobody"), "{text}");
    let connections = text.lines().find_map(|line| line.strip_prefix("imagecrud_database_connections "));
    assert_ne!(connections.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_found_in_the_log_by_the_load_balancers_id() {
    let stack = Stack::start().await;
    let trace = "Root=1-67891233-abcdef012345678912345678";
    let ask = |headers: &[(&'static str, &'static str)]| {
        let request = stack.server.request(reqwest::Method::GET, "/imagecrud/nobody");
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send()
    };
    let answer = ask(&[("x-amzn-trace-id", trace), ("x-request-id", "mine"), ("x-forwarded-for", "192.0.2.7")]).await;
    assert_eq!(answer.unwrap().headers()["x-request-id"], trace);
    assert_eq!(ask(&[("x-request-id", "mine-1")]).await.unwrap().headers()["x-request-id"], "mine-1");
    assert_eq!(ask(&[]).await.unwrap().headers()["x-request-id"].len(), 16);
    eventually("the log has the request", async || {
        let log = stack.server.log();
        let mut lines = log.lines().filter(|line| line.contains(trace));
        lines
            .any(|line| line.contains("status=404") && line.contains("192.0.2.7") && line.contains("/imagecrud/nobody"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_can_be_json() {
    let stack = Stack::start().await;
    let server = stack.another_server(&[("LOG_FORMAT", "json")]);
    crate::stack::serving(&server).await;
    server.get("/imagecrud/").await;
    eventually("the log has the request as JSON", async || {
        let log = server.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.any(|line| line["status"] == 200 && line["path"] == "/imagecrud/" && line["span"]["id"].is_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_tell_which_server_answered() {
    let stack = Stack::start_with(&[("SERVED_BY", "i-0a1b2c3d/0123456789ab"), ("SERVED_IN", "PARTI00")]).await;
    for (path, status) in [("/imagecrud/", 200), ("/imagecrud/nobody", 404)] {
        let page = stack.server.get_as(path, "text/html").await;
        assert_eq!(
            (page.status().as_u16(), &page.headers()["x-served-by"]),
            (status, &"i-0a1b2c3d/0123456789ab".parse().unwrap())
        );
        let html = page.text().await.unwrap();
        assert!(html.contains("Served by i-0a1b2c3d in PARTI00"), "{html}");
    }
}
