//! What is wrong in a tree whatever its keys mean: keys given twice, keys that are no strings, tags.

use super::{
    decode::{Context, Cursor},
    node::{Node, Value},
};

pub(super) fn check<'a>(context: &'a Context<'a>, node: &'a Node) {
    let at = |node: &'a Node| Cursor { context, node, key: None };
    match &node.value {
        Value::Seq(items) => items.iter().for_each(|item| check(context, item)),
        Value::Map(entries) => {
            let mut names = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                match key.as_str() {
                    Some(name) => names.push((name, key)),
                    None => {
                        let error = at(key).error(format!("a key has to be a string, found {}", key.kind()));
                        context.report(error.label("expected a string").help("quote it to make it a string"));
                    }
                }
                check(context, value);
            }
            // Most mappings are small: this is cheaper than a table. Equal names stay in their order.
            names.sort_by_key(|(name, _)| *name);
            for pair in names.windows(2) {
                let [(name, earlier), (other, key)] = pair else { continue };
                if name == other {
                    let error = at(key).error(format!("the key `{name}` is given twice"));
                    context.report(error.label("given again").related(earlier, "given first here"));
                }
            }
        }
        Value::Tagged => {
            context.report(at(node).error("tags have no meaning here").label("a value with a tag"));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::UnusableNumber | Value::String(_) => {}
    }
}
