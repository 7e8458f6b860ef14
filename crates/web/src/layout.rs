//! Where the nodes of the service map stand: a pure function from a graph to positions.
//!
//! Not a general graph library and not a drawing: pages draw what this returns. Invariants: integers
//! only, so every platform draws the same picture; the same input gives the same output in any order of
//! its parts; at most [`NODES_MAX`] nodes and [`EDGES_MAX`] edges are placed, and what does not fit is
//! folded into a node that says how many it stands for, never left out silently.

use std::collections::{BTreeMap, BTreeSet};

/// Most nodes in one picture.
pub const NODES_MAX: usize = 500;
/// Most edges in one picture.
pub const EDGES_MAX: usize = 5_000;
/// Above this many nodes, groups start folded.
pub const FIRST_VIEW_NODES: usize = 60;
/// Columns; deeper ranks share the last.
pub const COLUMNS_MAX: usize = 12;
/// Distance between columns, in picture units.
pub const COLUMN_STEP: i64 = 240;
/// Distance between rows, in picture units.
pub const ROW_STEP: i64 = 56;
/// Width of a node, in picture units.
pub const NODE_WIDTH: i64 = 168;
/// Height of a node, in picture units.
pub const NODE_HEIGHT: i64 = 40;
/// Barycentre sweeps over the columns.
const SWEEPS: usize = 24;

/// What stands at a node; the order is the order of drawing ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKind {
    /// Calls, and is called by nobody we see.
    External,
    /// Any machine in the middle.
    Service,
    /// A data store: drifts right.
    Store,
    /// A folded group, or the least busy nodes together.
    Folded,
}

/// One node as it comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Unique name; with `kind` the order of all ties.
    pub name: String,
    /// Group it belongs to (trust domain or namespace); empty = none.
    pub group: String,
    /// What it is.
    pub kind: NodeKind,
}

/// One edge as it comes in: indices into the nodes, and how busy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Caller.
    pub from: usize,
    /// Called.
    pub to: usize,
    /// Calls; only folding looks at it, never a position.
    pub weight: u64,
}

/// A node of the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedNode {
    /// Name to show.
    pub name: String,
    /// Its kind.
    pub kind: NodeKind,
    /// Indices of the input nodes it stands for.
    pub members: Vec<usize>,
    /// Column, from 0.
    pub column: usize,
    /// Row in its column, from 0.
    pub row: usize,
    /// Left edge.
    pub x: i64,
    /// Upper edge.
    pub y: i64,
}

/// An edge of the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedEdge {
    /// Index of the caller in [`Picture::nodes`].
    pub from: usize,
    /// Index of the called.
    pub to: usize,
    /// Runs against the columns, so it is drawn below.
    pub is_return: bool,
    /// Indices of the input edges it stands for.
    pub members: Vec<usize>,
    /// SVG path data.
    pub path: String,
}

/// A finished layout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Nodes, by kind and name.
    pub nodes: Vec<PlacedNode>,
    /// Edges, by their ends.
    pub edges: Vec<PlacedEdge>,
    /// Width in picture units.
    pub width: i64,
    /// Height in picture units.
    pub height: i64,
    /// Input nodes inside folded ones.
    pub folded: usize,
}

/// Places a graph. `open` names the groups that the reader unfolded.
pub fn layout(nodes: &[Node], edges: &[Edge], open: &BTreeSet<String>) -> Picture {
    let mut graph = Working::fold(nodes, edges, open);
    graph.rank();
    graph.order();
    graph.place(nodes)
}

/// The graph after folding, with what the steps work out.
struct Working {
    /// (kind, name, group, members), in the order of ties.
    nodes: Vec<(NodeKind, String, String, Vec<usize>)>,
    /// (from, to) → input edges; no loops.
    edges: BTreeMap<(usize, usize), Vec<usize>>,
    loops: BTreeMap<usize, Vec<usize>>,
    rank: Vec<usize>,
    /// Columns of node indices, top to bottom.
    columns: Vec<Vec<usize>>,
    folded: usize,
}

impl Working {
    /// Step 1: fold groups and the least busy, and order nodes by kind and name.
    fn fold(nodes: &[Node], edges: &[Edge], open: &BTreeSet<String>) -> Working {
        let mut home: Vec<(NodeKind, String, String)> =
            nodes.iter().map(|n| (n.kind, n.name.clone(), n.group.clone())).collect();
        if nodes.len() > FIRST_VIEW_NODES {
            let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
            for node in nodes {
                *sizes.entry(&node.group).or_default() += 1;
            }
            for (place, node) in home.iter_mut().zip(nodes) {
                let many = sizes.get(node.group.as_str()).is_some_and(|&n| n > 1);
                if many && !node.group.is_empty() && !open.contains(&node.group) {
                    *place = (NodeKind::Folded, node.group.clone(), node.group.clone());
                }
            }
        }
        fold_least_busy(&mut home, edges);
        let mut by_key: BTreeMap<(NodeKind, String, String), Vec<usize>> = BTreeMap::new();
        for (index, place) in home.into_iter().enumerate() {
            by_key.entry(place).or_default().push(index);
        }
        let mut of_node = vec![0; nodes.len()];
        let mut list = Vec::with_capacity(by_key.len());
        let mut folded = 0;
        for (at, ((kind, name, group), members)) in by_key.into_iter().enumerate() {
            for &member in &members {
                of_node[member] = at;
            }
            if kind == NodeKind::Folded {
                folded += members.len();
            }
            list.push((kind, name, group, members));
        }
        let mut merged: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        let mut loops: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, edge) in edges.iter().enumerate() {
            let (Some(&from), Some(&to)) = (of_node.get(edge.from), of_node.get(edge.to)) else { continue };
            if from == to {
                loops.entry(from).or_default().push(index);
            } else {
                merged.entry((from, to)).or_default().push(index);
            }
        }
        Working { rank: vec![0; list.len()], nodes: list, edges: merged, loops, columns: Vec::new(), folded }
    }

    /// Step 2: break cycles (Eades, Lin, Smyth), then rank by longest path.
    fn rank(&mut self) {
        let place = self.acyclic_order();
        let mut by_place: Vec<usize> = (0..self.nodes.len()).collect();
        by_place.sort_by_key(|&n| place[n]);
        let mut out: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        let mut called = vec![false; self.nodes.len()];
        for &(from, to) in self.edges.keys() {
            let (a, b) = if place[from] < place[to] { (from, to) } else { (to, from) };
            out[a].push(b);
            called[to] = true;
        }
        for &node in &by_place {
            for &next in &out[node] {
                self.rank[next] = self.rank[next].max((self.rank[node] + 1).min(COLUMNS_MAX - 1));
            }
        }
        let last = self.rank.iter().copied().max().unwrap_or(0);
        for node in 0..self.nodes.len() {
            match self.nodes[node].0 {
                NodeKind::External if !called[node] => self.rank[node] = 0,
                NodeKind::Store if out[node].is_empty() && called[node] => self.rank[node] = last,
                _ => {}
            }
        }
        self.columns = vec![Vec::new(); last + 1];
        for node in 0..self.nodes.len() {
            self.columns[self.rank[node]].push(node);
        }
        self.columns.retain(|column| !column.is_empty());
        for (at, column) in self.columns.iter().enumerate() {
            for &node in column {
                self.rank[node] = at;
            }
        }
    }

    /// Position of each node in a sequence with few edges running backwards.
    fn acyclic_order(&self) -> Vec<usize> {
        let n = self.nodes.len();
        let (mut outs, mut ins) = (vec![Vec::new(); n], vec![Vec::new(); n]);
        for &(from, to) in self.edges.keys() {
            outs[from].push(to);
            ins[to].push(from);
        }
        let mut degree: Vec<(i64, i64)> =
            (0..n).map(|v| (outs[v].len() as i64, ins[v].len() as i64)).collect();
        let mut left: BTreeSet<usize> = (0..n).collect();
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        while !left.is_empty() {
            let source = left.iter().copied().find(|&v| degree[v].1 == 0);
            let sink = left.iter().copied().find(|&v| degree[v].0 == 0);
            let best =
                || left.iter().copied().max_by_key(|&v| (degree[v].0 - degree[v].1, std::cmp::Reverse(v)));
            let Some(node) = source.or(sink).or_else(best) else { break };
            if source.is_none() && sink.is_some() {
                tail.push(node)
            } else {
                head.push(node)
            }
            left.remove(&node);
            for &next in &outs[node] {
                degree[next].1 -= 1;
            }
            for &before in &ins[node] {
                degree[before].0 -= 1;
            }
        }
        head.extend(tail.into_iter().rev());
        let mut place = vec![0; n];
        for (at, node) in head.into_iter().enumerate() {
            place[node] = at;
        }
        place
    }

    /// Step 3: barycentre sweeps; the order with the fewest crossings is kept.
    fn order(&mut self) {
        let mut near: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for &(from, to) in self.edges.keys() {
            near[from].push(to);
            near[to].push(from);
        }
        let mut row = vec![0i64; self.nodes.len()];
        self.number(&mut row);
        let (mut best, mut fewest) = (self.columns.clone(), self.crossings(&row));
        for sweep in 0..SWEEPS {
            if fewest == 0 {
                break;
            }
            let down = sweep % 2 == 0;
            for step in 1..self.columns.len() {
                let at = if down { step } else { self.columns.len() - 1 - step };
                let side = |other: usize| if down { self.rank[other] < at } else { self.rank[other] > at };
                let centre: Vec<(i64, i64)> = (0..self.nodes.len())
                    .map(|node| {
                        let mut sum = (0, 0);
                        if self.rank[node] == at {
                            for &other in near[node].iter().filter(|&&o| side(o)) {
                                sum = (sum.0 + row[other], sum.1 + 1);
                            }
                        }
                        if sum.1 == 0 { (row[node], 1) } else { sum }
                    })
                    .collect();
                self.sort_column(at, &centre);
                self.number(&mut row);
            }
            let crossings = self.crossings(&row);
            if crossings < fewest {
                (best, fewest) = (self.columns.clone(), crossings);
            }
        }
        self.columns = best;
    }

    /// Sorts one column by barycentre; members of a group stay adjacent.
    fn sort_column(&mut self, at: usize, centre: &[(i64, i64)]) {
        let mut of_group: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        for &node in &self.columns[at] {
            let sum = of_group.entry(&self.nodes[node].2).or_default();
            // In thousandths of a row: members with many neighbours must not outweigh the others.
            *sum = (sum.0 + centre[node].0 * 1_000 / centre[node].1, sum.1 + 1_000);
        }
        let group_centre: Vec<(i64, i64)> = (0..self.nodes.len())
            .map(|n| match self.nodes[n].2.as_str() {
                "" => centre[n],
                group => of_group.get(group).copied().unwrap_or(centre[n]),
            })
            .collect();
        let less = |a: (i64, i64), b: (i64, i64)| (a.0 * b.1).cmp(&(b.0 * a.1));
        let nodes = &self.nodes;
        self.columns[at].sort_by(|&a, &b| {
            less(group_centre[a], group_centre[b])
                .then_with(|| nodes[a].2.cmp(&nodes[b].2))
                .then_with(|| less(centre[a], centre[b]))
                .then(a.cmp(&b))
        });
    }

    /// Row of each node, doubled and centred, so that columns of different height compare.
    fn number(&self, row: &mut [i64]) {
        for column in &self.columns {
            for (at, &node) in column.iter().enumerate() {
                row[node] = 2 * at as i64 - (column.len() as i64 - 1);
            }
        }
    }

    /// Crossings between edges of the same two columns.
    fn crossings(&self, row: &[i64]) -> u64 {
        let mut bundles: BTreeMap<(usize, usize), Vec<(i64, i64)>> = BTreeMap::new();
        for &(from, to) in self.edges.keys() {
            let (a, b) = if self.rank[from] <= self.rank[to] { (from, to) } else { (to, from) };
            bundles.entry((self.rank[a], self.rank[b])).or_default().push((row[a], row[b]));
        }
        let mut total = 0;
        for ends in bundles.values_mut() {
            ends.sort_unstable();
            let mut right: Vec<i64> = ends.iter().map(|end| end.1).collect();
            let mut spare = right.clone();
            total += inversions(&mut right, &mut spare);
        }
        total
    }

    /// Step 4: coordinates and curves.
    fn place(self, input: &[Node]) -> Picture {
        let tallest = self.columns.iter().map(Vec::len).max().unwrap_or(0) as i64;
        let mut spot = vec![(0usize, 0usize, 0i64, 0i64); self.nodes.len()];
        for (column, members) in self.columns.iter().enumerate() {
            let top = (tallest - members.len() as i64) * ROW_STEP / 2;
            for (row, &node) in members.iter().enumerate() {
                spot[node] = (column, row, column as i64 * COLUMN_STEP, top + row as i64 * ROW_STEP);
            }
        }
        let floor = tallest * ROW_STEP;
        let mut returns = 0;
        let mut edges = Vec::with_capacity(self.edges.len() + self.loops.len());
        let all = self
            .edges
            .into_iter()
            .chain(self.loops.into_iter().map(|(node, members)| ((node, node), members)));
        for ((from, to), members) in all {
            let (a, b) = (spot[from], spot[to]);
            let is_return = a.0 > b.0;
            let path = if is_return {
                returns += 1;
                below((a.2, a.3), (b.2, b.3), floor + 12 * (returns % 8))
            } else if a.0 == b.0 {
                beside((a.2, a.3), (b.2, b.3))
            } else {
                across((a.2, a.3), (b.2, b.3))
            };
            edges.push(PlacedEdge { from, to, is_return, members, path });
        }
        let nodes: Vec<PlacedNode> = self
            .nodes
            .into_iter()
            .zip(spot)
            .map(|((kind, name, _, members), (column, row, x, y))| PlacedNode {
                name,
                kind,
                members,
                column,
                row,
                x,
                y,
            })
            .collect();
        debug_assert!(nodes.iter().map(|n| n.members.len()).sum::<usize>() == input.len());
        let columns = self.columns.len() as i64;
        Picture {
            width: (columns - 1).max(0) * COLUMN_STEP + NODE_WIDTH + 72,
            height: floor + if returns > 0 { 120 } else { 0 },
            nodes,
            edges,
            folded: self.folded,
        }
    }
}

/// Folds the least busy nodes until nodes and edges are within their bounds.
fn fold_least_busy(home: &mut [(NodeKind, String, String)], edges: &[Edge]) {
    let distinct: BTreeSet<_> = home.iter().cloned().collect();
    let pairs = |home: &[(NodeKind, String, String)]| {
        let id: BTreeMap<_, _> = home.iter().enumerate().map(|(at, key)| (key, at)).collect();
        let ends = edges.iter().filter_map(|e| Some((id.get(home.get(e.from)?)?, id.get(home.get(e.to)?)?)));
        ends.collect::<BTreeSet<_>>().len()
    };
    if distinct.len() <= NODES_MAX && (edges.len() <= EDGES_MAX || pairs(home) <= EDGES_MAX) {
        return;
    }
    let mut busy: BTreeMap<&(NodeKind, String, String), u64> = distinct.iter().map(|key| (key, 0)).collect();
    for edge in edges {
        for end in [edge.from, edge.to] {
            if let Some(sum) = home.get(end).and_then(|key| busy.get_mut(key)) {
                *sum = sum.saturating_add(edge.weight);
            }
        }
    }
    let mut ranked: Vec<_> =
        busy.into_iter().map(|(key, sum)| (std::cmp::Reverse(sum), key.clone())).collect();
    ranked.sort();
    let mut keep = ranked.len().min(NODES_MAX - 1);
    loop {
        let kept: BTreeSet<_> = ranked[..keep].iter().map(|(_, key)| key).collect();
        let others = ranked.len() - keep;
        let folded: Vec<_> = home
            .iter()
            .map(|key| {
                if kept.contains(key) {
                    key.clone()
                } else {
                    (NodeKind::Folded, format!("others ({others})"), String::new())
                }
            })
            .collect();
        if keep <= 1 || pairs(&folded) <= EDGES_MAX {
            home.clone_from_slice(&folded);
            return;
        }
        keep = keep * 7 / 8;
    }
}

/// Pairs out of order, counted by merge sort.
fn inversions(list: &mut [i64], spare: &mut [i64]) -> u64 {
    if list.len() < 2 {
        return 0;
    }
    let half = list.len() / 2;
    let mut count = {
        let (left, right) = list.split_at_mut(half);
        let (spare_left, spare_right) = spare.split_at_mut(half);
        inversions(left, spare_left) + inversions(right, spare_right)
    };
    let (mut l, mut r) = (0, half);
    for slot in spare.iter_mut() {
        let take_left = r >= list.len() || (l < half && list[l] <= list[r]);
        if take_left {
            *slot = list[l];
            l += 1;
        } else {
            count += (half - l) as u64;
            *slot = list[r];
            r += 1;
        }
    }
    list.copy_from_slice(spare);
    count
}

fn across(a: (i64, i64), b: (i64, i64)) -> String {
    let (x1, y1) = (a.0 + NODE_WIDTH, a.1 + NODE_HEIGHT / 2);
    let (x2, y2) = (b.0, b.1 + NODE_HEIGHT / 2);
    let bend = (x2 - x1) / 2;
    format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + bend, x2 - bend)
}

fn beside(a: (i64, i64), b: (i64, i64)) -> String {
    let x = a.0 + NODE_WIDTH;
    let (y1, y2) = (a.1 + NODE_HEIGHT / 2, b.1 + NODE_HEIGHT / 2 + 6);
    format!("M{x} {y1}C{} {y1} {} {y2} {x} {y2}", x + 48, x + 48)
}

fn below(a: (i64, i64), b: (i64, i64), floor: i64) -> String {
    let (x1, y1) = (a.0 + NODE_WIDTH / 2, a.1 + NODE_HEIGHT);
    let (x2, y2) = (b.0 + NODE_WIDTH / 2, b.1 + NODE_HEIGHT);
    format!("M{x1} {y1}C{x1} {floor} {x2} {floor} {x2} {y2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(n: usize, m: usize) -> (Vec<Node>, Vec<Edge>) {
        let mut seed = 7u64;
        let mut next = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize
        };
        let kinds = [NodeKind::Service, NodeKind::External, NodeKind::Store];
        let nodes = (0..n)
            .map(|i| Node {
                name: format!("n{i:04}"),
                group: format!("g{}", i % 9),
                kind: kinds[(i % 17).min(2)],
            })
            .collect();
        let edges =
            (0..m).map(|_| Edge { from: next() % n, to: next() % n, weight: next() as u64 % 900 }).collect();
        (nodes, edges)
    }

    fn all_groups() -> BTreeSet<String> {
        (0..9).map(|g| format!("g{g}")).collect()
    }

    #[test]
    fn same_graph_in_any_order_gives_the_same_picture() {
        let (nodes, edges) = graph(200, 600);
        let first = layout(&nodes, &edges, &all_groups());
        let n = nodes.len();
        let turned: Vec<Node> = nodes.iter().rev().cloned().collect();
        let flipped: Vec<Edge> = edges
            .iter()
            .rev()
            .map(|e| Edge { from: n - 1 - e.from, to: n - 1 - e.to, weight: e.weight })
            .collect();
        let second = layout(&turned, &flipped, &all_groups());
        let spots = |p: &Picture| p.nodes.iter().map(|n| (n.name.clone(), n.x, n.y)).collect::<Vec<_>>();
        assert_eq!(spots(&first), spots(&second));
        let paths = |p: &Picture| p.edges.iter().map(|e| e.path.clone()).collect::<Vec<_>>();
        assert_eq!(paths(&first), paths(&second));
    }

    #[test]
    fn traffic_never_moves_a_node() {
        let (nodes, mut edges) = graph(120, 300);
        let first = layout(&nodes, &edges, &all_groups());
        for edge in &mut edges {
            edge.weight = edge.weight.wrapping_mul(31) % 1_000;
        }
        assert_eq!(first, layout(&nodes, &edges, &all_groups()));
    }

    #[test]
    fn no_two_nodes_share_a_place_and_columns_are_bounded() {
        let (nodes, edges) = graph(500, 5_000);
        let picture = layout(&nodes, &edges, &all_groups());
        let places: BTreeSet<(i64, i64)> = picture.nodes.iter().map(|n| (n.x, n.y)).collect();
        assert_eq!(places.len(), picture.nodes.len());
        assert_eq!(picture.nodes.len(), 500);
        assert!(picture.nodes.iter().all(|n| n.column < COLUMNS_MAX && n.x + NODE_WIDTH <= picture.width));
    }

    #[test]
    fn more_than_the_bounds_folds_and_counts() {
        let (nodes, edges) = graph(3_000, 20_000);
        let picture = layout(&nodes, &edges, &all_groups());
        assert!(picture.nodes.len() <= NODES_MAX && picture.edges.len() <= EDGES_MAX);
        let members: usize = picture.nodes.iter().map(|n| n.members.len()).sum();
        let carried: usize = picture.edges.iter().map(|e| e.members.len()).sum();
        assert_eq!((members, carried), (3_000, 20_000));
        assert!(picture.folded > 2_000);
    }

    #[test]
    fn first_view_of_a_large_map_is_folded_by_group() {
        let (nodes, edges) = graph(200, 600);
        let closed = layout(&nodes, &edges, &BTreeSet::new());
        assert_eq!(closed.nodes.len(), 9);
        let one = layout(&nodes, &edges, &BTreeSet::from(["g3".to_string()]));
        assert!(one.nodes.len() > 9);
    }

    #[test]
    fn callers_stand_left_of_stores() {
        let node = |name: &str, kind| Node { name: name.into(), group: String::new(), kind };
        let nodes = [
            node("db", NodeKind::Store),
            node("api", NodeKind::Service),
            node("10.0.0.9", NodeKind::External),
        ];
        let edges = [Edge { from: 2, to: 1, weight: 1 }, Edge { from: 1, to: 0, weight: 1 }];
        let picture = layout(&nodes, &edges, &BTreeSet::new());
        let column = |name: &str| picture.nodes.iter().find(|n| n.name == name).map(|n| n.column);
        assert_eq!((column("10.0.0.9"), column("api"), column("db")), (Some(0), Some(1), Some(2)));
    }

    #[test]
    fn cycles_and_loops_are_drawn() {
        let node = |name: &str| Node { name: name.into(), group: String::new(), kind: NodeKind::Service };
        let nodes = [node("a"), node("b")];
        let edge = |from, to| Edge { from, to, weight: 1 };
        let picture = layout(&nodes, &[edge(0, 1), edge(1, 0), edge(0, 0)], &BTreeSet::new());
        assert_eq!(picture.edges.len(), 3);
        assert_eq!(picture.edges.iter().filter(|e| e.is_return).count(), 1);
        assert_eq!(layout(&[], &[], &BTreeSet::new()).nodes.len(), 0);
    }
}
