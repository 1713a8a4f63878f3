//! The index as people use it: searching, sorting, paging, forms without scripts, assets.

use image::ImageFormat;
use reqwest::header;

use crate::stack::{Stack, form, jpeg, picture};

async fn names(stack: &Stack, query: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut path = format!("/imagecrud/?{query}");
    loop {
        let page = stack.server.json(&path).await;
        let pictures = page["pictures"].as_array().unwrap();
        names.extend(pictures.iter().map(|picture| picture["name"].as_str().unwrap().to_string()));
        match page["next"].as_str() {
            Some(next) => path = next.to_string(),
            None => return names,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_by_how_they_begin_and_sorted_as_people_sort() {
    let stack = Stack::start().await;
    for (seed, name) in ["zebra", "Cat", "cat", "c%C3%A1t-2", "dog", "c_t", "cart"].into_iter().enumerate() {
        assert_eq!(stack.server.post(name, jpeg(seed as u8)).await.status(), 200, "{name}");
    }
    assert_eq!(names(&stack, "q=CA").await, ["cart", "cát-2", "cat", "Cat"]);
    assert_eq!(names(&stack, "q=ca&sort=oldest").await, ["Cat", "cat", "cát-2", "cart"]);
    assert_eq!(names(&stack, "q=c_").await, ["c_t"], "no sign is a wildcard");
    assert!(names(&stack, "q=%25").await.is_empty());
    assert!(names(&stack, "q=at").await.is_empty(), "only the beginning counts");
    let sorted = ["c_t", "cart", "Cat", "cat", "cát-2", "dog", "zebra"];
    for limit in [1, 2, 3, 100] {
        assert_eq!(names(&stack, &format!("sort=name&limit={limit}")).await, sorted, "pages of {limit}");
        assert_eq!(names(&stack, &format!("sort=name&limit={limit}&q=ca")).await, sorted[1..5], "pages of {limit}");
    }
    // What a browser's form sends when nothing was typed.
    assert_eq!(names(&stack, "q=&sort=newest").await.len(), 7);
    let page = stack.server.get_as("/imagecrud/?q=%3Cscript%3E", "text/html").await.text().await.unwrap();
    assert!(page.contains("No name begins with") && !page.contains("<script>"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_a_walk_while_pictures_come_and_go() {
    let stack = Stack::start().await;
    for (seed, name) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
        stack.server.post(name, jpeg(seed as u8)).await;
    }
    let first = stack.server.json("/imagecrud/?sort=name&limit=3").await;
    // The row that the next page begins behind goes, and one comes before it.
    stack.server.delete("c").await;
    stack.server.post("aa", jpeg(9)).await;
    let second = stack.server.json(first["next"].as_str().unwrap()).await;
    let shown: Vec<&str> =
        second["pictures"].as_array().unwrap().iter().map(|picture| picture["name"].as_str().unwrap()).collect();
    assert_eq!(shown, ["d", "e", "f"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_a_name_takes_the_files_and_never_replaces() {
    let stack = Stack::start().await;
    let html = [("content-type", "multipart/form-data; boundary=cut-here"), ("accept", "text/html")];
    // The file of `form` is called x.jpg.
    let added = stack.server.post_raw("/imagecrud/", &html, form(&jpeg(1)).0).await;
    assert_eq!((added.status().as_u16(), &added.headers()[header::LOCATION]), (303, &"/imagecrud/".parse().unwrap()));
    let sha256 = stack.server.json("/imagecrud/x").await["sha256"].clone();
    assert_eq!(stack.server.post_raw("/imagecrud/", &html, form(&jpeg(1)).0).await.status(), 303, "the same again");
    let refused = stack.server.post_raw("/imagecrud/", &html, form(&jpeg(2)).0).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()[header::LOCATION]),
        (409, &"/imagecrud/x".parse().unwrap())
    );
    assert!(refused.text().await.unwrap().contains("there is already another picture named"));
    assert_eq!(stack.server.json("/imagecrud/x").await["sha256"], sha256);
    let mut named = b"--cut-here\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\n y \r\n".to_vec();
    named.extend(form(&picture(ImageFormat::Png, 3)).0);
    assert_eq!(stack.server.post_raw("/imagecrud/", &html, named).await.status(), 303);
    assert_eq!(stack.server.json("/imagecrud/y").await["content_type"], "image/png");
    stack.nothing_is_orphaned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_new_uploads_of_one_name_one_is_kept() {
    let stack = std::sync::Arc::new(Stack::start_with(&[("UPLOAD_INTENT_SECONDS", "2")]).await);
    let uploads = (0..12u8).map(|seed| {
        let stack = stack.clone();
        let headers = [("content-type", "multipart/form-data; boundary=cut-here"), ("if-none-match", "*")];
        async move { stack.server.post_raw("/imagecrud/cat", &headers, form(&jpeg(seed)).0).await.status().as_u16() }
    });
    let statuses = futures::future::join_all(uploads).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 409)), "{statuses:?}");
    stack.nothing_is_orphaned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_kept_by_their_hash_and_checked_by_their_tag() {
    let stack = Stack::start().await;
    let html = stack.server.get_as("/imagecrud/", "text/html").await.text().await.unwrap();
    for name in ["style.css", "gallery.js", "icon.svg"] {
        let start = html.find(&format!("/static/{name}?v=")).unwrap_or_else(|| panic!("{name}: {html}"));
        let address = html[start..].split('"').next().unwrap();
        let asset = stack.server.get(address).await;
        assert!(asset.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        let tag = asset.headers()[header::ETAG].clone();
        let again = stack.server.request(reqwest::Method::GET, &format!("/static/{name}?v=old"));
        let again = again.header(header::IF_NONE_MATCH, tag).send().await.unwrap();
        assert_eq!(again.status(), 304);
        assert_eq!(again.headers()[header::CACHE_CONTROL], "public, no-cache");
    }
}
