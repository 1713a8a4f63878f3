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
async fn a_walk_shows_each_picture_that_stays_once_while_others_come_and_go() {
    let stack = Stack::start_with(&[("THUMBNAILS", "false"), ("UNDO_SECONDS", "0")]).await;
    let picture = |seed: usize| crate::stack::small_png(seed as u8);
    for at in 0..40 {
        assert_eq!(stack.server.post(&format!("stays{at:02}"), picture(at)).await.status(), 200);
    }
    let walked = std::sync::atomic::AtomicBool::new(false);
    let churn = async {
        let mut turn = 0;
        while !walked.load(std::sync::atomic::Ordering::SeqCst) {
            // Before, between and behind those that stay, by name; newer than all of them, by date.
            let name = format!("{}{turn}", ["a", "stays1x", "z"][turn % 3]);
            assert_eq!(stack.server.post(&name, picture(turn)).await.status(), 200);
            if turn >= 5 {
                let gone = format!("{}{}", ["a", "stays1x", "z"][(turn - 5) % 3], turn - 5);
                assert_eq!(stack.server.delete(&gone).await.status(), 200, "{gone}");
            }
            turn += 1;
        }
        turn
    };
    let walk = async {
        let mut walks = 0;
        for sort in ["newest", "oldest", "name"] {
            for limit in [1, 7, 40] {
                let seen = names(&stack, &format!("sort={sort}&limit={limit}&q=")).await;
                let mut stayed: Vec<&String> =
                    seen.iter().filter(|name| name.len() == 7 && name.starts_with("stays")).collect();
                stayed.retain(|name| name[5..].parse::<usize>().is_ok_and(|at| at < 40));
                let expected: std::collections::BTreeSet<String> = (0..40).map(|at| format!("stays{at:02}")).collect();
                assert_eq!(stayed.len(), 40, "{sort} by {limit}: {seen:?}");
                assert_eq!(stayed.into_iter().cloned().collect::<std::collections::BTreeSet<_>>(), expected);
                walks += 1;
            }
        }
        walked.store(true, std::sync::atomic::Ordering::SeqCst);
        walks
    };
    let (changes, walks) = tokio::join!(churn, walk);
    println!("{walks} walks beside {changes} uploads and deletions: none of 40 pictures missed or shown twice");
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
