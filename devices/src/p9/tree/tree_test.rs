use super::handles::Holder;
use super::*;
use crate::p9::wire::Errno;

fn tree(dir: &tempfile::TempDir, handles: usize) -> Tree {
    Tree::new(dir.path(), TreeLimits { nodes: 100_000, handles, open_files: 8 }).unwrap()
}

fn find(tree: &Tree, path: &str) -> Result<Arc<Node>, Errno> {
    path.split('/').try_fold(Arc::clone(tree.root()), |node, name| Ok(tree.lookup(&node, name.as_bytes())?.0))
}

#[test]
fn a_name_is_one_node_while_it_is_held() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
    let tree = tree(&dir, 8);
    let b = find(&tree, "a/b").unwrap();
    assert!(Arc::ptr_eq(&b, &find(&tree, "a/b").unwrap()));
    assert!(Arc::ptr_eq(&b.parent(), &find(&tree, "a").unwrap()));
    assert!(Arc::ptr_eq(&tree.root().parent(), tree.root()));
    assert_eq!(tree.nodes.used(), 2);
    drop(b);
    assert_eq!(tree.nodes.used(), 0, "its parent went with it");
}

#[test]
fn a_directorys_memory_is_that_of_what_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(&dir, 8);
    for index in 0..2000 {
        std::fs::write(dir.path().join(index.to_string()), "").unwrap();
        find(&tree, &index.to_string()).unwrap();
    }
    assert!(crate::lock(&tree.root().children).by_name.len() <= 32);
}

#[test]
fn descriptors_are_kept_up_to_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(&dir, 4);
    let nodes: Vec<_> = (0..50)
        .map(|index| {
            std::fs::create_dir(dir.path().join(index.to_string())).unwrap();
            let node = find(&tree, &index.to_string()).unwrap();
            tree.handle(&node).unwrap();
            node
        })
        .collect();
    assert!(tree.handles.len() <= 4);
    let kept = nodes.iter().filter(|node| node.handle_slot().get().is_some()).count();
    assert!(kept <= 4);
    for node in &nodes {
        assert_eq!(tree.handle(node).unwrap().stat().unwrap().id, node.id());
    }
    tree.close_idle();
    assert!(nodes.iter().all(|node| node.handle_slot().get().is_none()));
    assert!(tree.root().handle_slot().get().is_some(), "the root's is no cached one");
}

#[test]
fn what_was_used_stays_longer() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(&dir, 3);
    let node = |name: &str| {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        let node = find(&tree, name).unwrap();
        tree.handle(&node).unwrap();
        node
    };
    let (a, b, c) = (node("a"), node("b"), node("c"));
    tree.handle(&a).unwrap();
    let d = node("d");
    let kept = |node: &Arc<Node>| node.handle_slot().get().is_some();
    assert_eq!([&a, &b, &c, &d].map(kept), [true, false, true, true]);
}

/// Places that no longer form a tree, since the host has moved directories, do no harm.
#[test]
fn the_hosts_moves_make_no_circle() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
    let tree = tree(&dir, 8);
    let (a, b) = (find(&tree, "a").unwrap(), find(&tree, "a/b").unwrap());
    for node in [&a, &b] {
        tree.handle(node).unwrap();
    }
    // The host takes b out of a; the guest, by what it holds, moves a into b.
    std::fs::rename(dir.path().join("a/b"), dir.path().join("b")).unwrap();
    tree.rename(tree.root(), b"a", &b, b"a").unwrap();
    assert!(dir.path().join("b/a").is_dir());
    tree.close_idle();
    assert_eq!(tree.handle(&a).map(drop), Err(Errno::ESTALE));
    assert_eq!(tree.handle(&b).map(drop), Err(Errno::ESTALE));
    drop((a, b));
    assert_eq!(tree.nodes.used(), 0, "and let go of each other");
    find(&tree, "b/a").unwrap();
}

#[test]
fn charges() {
    let capacity = Capacity::new(10);
    let mut charge = capacity.take(6).unwrap();
    assert!(capacity.take(5).is_none() && capacity.take(usize::MAX).is_none());
    assert!(!charge.resize(11) && charge.resize(10) && charge.resize(2));
    assert!(capacity.take(8).is_some());
    drop(charge);
    assert_eq!(capacity.used(), 0);
}
