//! boto3, which reads all that a group does.

use super::*;
use crate::boto3::{Front, while_living};

#[tokio::test]
async fn boto3_reads_all_that_a_group_does() {
    let mut world = world(&[]);
    let front = Front::serve(&world).await;
    if let Some(output) = while_living(&mut world, front.run(include_str!("boto3.py"))).await {
        assert_eq!(output, "done");
    }
}
