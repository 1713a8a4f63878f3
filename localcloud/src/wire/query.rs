//! Query parameters to nodes: `Filter.1.Value.2=x` (EC2) and `Tags.member.1.Key=x` (all others) become trees.

use std::collections::BTreeMap;

use super::value::{DecodeError, Node};

/// Names are not deeper: the deepest of AWS's own has fewer parts.
const MOST_PARTS: usize = 20;
/// Values and structures of one request: PutMetricData, the largest, has at most some thousands.
const MOST_PARAMETERS: usize = 50_000;

enum Tree {
    Leaf(String),
    Branch(BTreeMap<String, Tree>),
}

/// Builds the tree of a request's parameters. A branch whose keys are all numbers is a list in their order; so is one
/// whose only key is `member`, as the query protocol writes lists
/// (<https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>).
///
/// # Errors
/// When a name is given twice, or is both a value and a structure; when there are too many, or too deep ones.
pub fn to_node<I>(parameters: I) -> Result<Node, DecodeError>
where
    I: IntoIterator<Item = (String, String)>,
{
    let mut root = BTreeMap::new();
    let mut room = MOST_PARAMETERS;
    for (name, value) in parameters {
        if name.split('.').count() > MOST_PARTS {
            return Err(DecodeError::Invalid(format!("the name of a parameter has more than {MOST_PARTS} parts")));
        }
        insert(&mut root, &name, &name, value, &mut room)?;
    }
    Ok(match Tree::Branch(root).into_node() {
        Node::Null => Node::Map(Vec::new()),
        node => node,
    })
}

fn insert(
    branch: &mut BTreeMap<String, Tree>,
    whole: &str,
    rest: &str,
    value: String,
    room: &mut usize,
) -> Result<(), DecodeError> {
    *room =
        room.checked_sub(1).ok_or_else(|| DecodeError::Invalid("the request has too many parameters".to_owned()))?;
    let conflict =
        || DecodeError::Invalid(format!("the parameter {whole} is given twice, or as a value and as a structure"));
    match rest.split_once('.') {
        None => match branch.insert(rest.to_owned(), Tree::Leaf(value)) {
            None => Ok(()),
            Some(_) => Err(conflict()),
        },
        Some((head, tail)) => match branch.entry(head.to_owned()).or_insert_with(|| Tree::Branch(BTreeMap::new())) {
            Tree::Branch(inner) => insert(inner, whole, tail, value, room),
            Tree::Leaf(_) => Err(conflict()),
        },
    }
}

impl Tree {
    fn into_node(self) -> Node {
        let mut entries = match self {
            Self::Leaf(text) => return Node::Text(text),
            Self::Branch(entries) => entries,
        };
        if entries.len() == 1
            && let Some(Self::Branch(_)) = entries.get("member")
            && let Some(list) = entries.remove("member")
        {
            return list.into_node();
        }
        if !entries.is_empty() && entries.keys().all(|key| key.parse::<u32>().is_ok()) {
            let mut items: Vec<(u32, Self)> =
                entries.into_iter().filter_map(|(key, tree)| key.parse().ok().map(|number| (number, tree))).collect();
            items.sort_by_key(|(number, _)| *number);
            return Node::List(items.into_iter().map(|(_, tree)| tree.into_node()).collect());
        }
        Node::Map(entries.into_iter().map(|(key, tree)| (key.into(), tree.into_node())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Node {
        Node::Text(value.to_owned())
    }

    fn decode(pairs: &[(&str, &str)]) -> Result<Node, DecodeError> {
        to_node(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn numbered_parameters_become_lists_in_the_order_of_their_numbers() {
        let node = decode(&[("Id.10", "c"), ("Id.2", "b"), ("Id.1", "a")]).expect("a tree");
        assert_eq!(node, Node::Map(vec![("Id".into(), Node::List(vec![text("a"), text("b"), text("c")]))]));
    }

    #[test]
    fn member_lists_of_the_query_protocol_become_the_same_lists() {
        let node = decode(&[("Tags.member.1.Key", "k"), ("Tags.member.1.Value", "v")]).expect("a tree");
        let tag = Node::Map(vec![("Key".into(), text("k")), ("Value".into(), text("v"))]);
        assert_eq!(node, Node::Map(vec![("Tags".into(), Node::List(vec![tag]))]));
    }

    #[test]
    fn a_name_that_is_both_value_and_structure_is_refused() {
        assert!(decode(&[("A", "1"), ("A.B", "2")]).is_err());
        assert!(decode(&[("A", "1"), ("A", "2")]).is_err());
    }
}
