//! Images in prompts: never parted, never mistaken for one another, never starved.

use gimbal_batch::{Bucket, Cannot, Limits, Prefill, Shape};
use gimbal_scheduler::{Finish, Micros, Policy, Refusal, Request, RequestId, Span};
use gimbal_sim::Incident;
use gimbal_simulate::desk::{Desk, ids, image, limits, policy, request};

/// A prompt of alike tokens with images in it.
fn pictured(id: u64, prompt_tokens: u32, spans: &[Span]) -> Request {
    let tokens = ids((0..prompt_tokens).map(|_| 7));
    Request { tokens, spans: spans.into(), ..request(id, prompt_tokens, 4) }
}

fn chunks(limits: Limits, policy: Policy, request: Request) -> Vec<u32> {
    let mut desk = Desk::new(limits, policy);
    let prompt = u32::try_from(request.tokens.len()).expect("a short prompt");
    desk.admit(request).expect("room");
    let mut chunks = Vec::new();
    while chunks.iter().sum::<u32>() < prompt {
        assert!(desk.step());
        chunks.extend(desk.rows());
    }
    desk.finish();
    chunks
}

#[test]
fn a_chunk_ends_before_an_image_or_behind_it() {
    let small = |step_tokens_max| Policy { step_tokens_max, ..policy() };
    let check = |spans: &[Span], expect: &[u32]| {
        assert_eq!(chunks(limits(), small(8), pictured(1, 20, spans)), expect);
    };
    check(&[], &[8, 8, 4]);
    check(&[image(5, 8, 1)], &[5, 8, 7]);
    check(&[image(6, 4, 1)], &[6, 8, 6]);
    check(&[image(0, 8, 1), image(8, 8, 1)], &[8, 8, 4]);
    check(&[image(3, 3, 1), image(6, 3, 2), image(17, 3, 1)], &[6, 8, 6]);
    let bucket = |rows_each| Bucket { sequences: 1, rows_each, context: 64 };
    let shape = Shape::Buckets(vec![bucket(1), bucket(4), bucket(8)]);
    let buckets = Limits { shape, ..limits() };
    let found = chunks(buckets.clone(), policy(), pictured(1, 20, &[image(5, 8, 1)]));
    assert_eq!(found, [5, 8, 7]);
    let whole = Limits { prefill: Prefill::Whole, ..limits() };
    assert_eq!(chunks(whole, small(4), pictured(1, 20, &[image(5, 8, 1)])), [20]);
}

#[test]
fn an_image_gets_its_rows_beside_decode_rows_and_other_prompts() {
    let times = [None, Some(Micros(1))];
    for step_time_max in times {
        let policy = Policy { step_tokens_max: 8, step_time_max, ..policy() };
        let mut desk = Desk::new(limits(), policy);
        for id in 1..=3 {
            desk.admit(Request { max_new_tokens: 60, ..request(id, 2, 60) }).expect("room");
        }
        desk.step();
        desk.admit(pictured(4, 20, &[image(1, 8, 1), image(9, 8, 2)])).expect("as long as a step");
        for id in 5..=7 {
            desk.admit(request(id, 20, 2)).expect("room");
        }
        let mut steps = 0;
        while desk.tokens(4, 0).is_empty() {
            let had: usize = (1..=3).map(|id| desk.tokens(id, 0).len()).sum();
            desk.step();
            desk.now.0 += 10;
            desk.step();
            desk.now.0 += 10;
            let have: usize = (1..=3).map(|id| desk.tokens(id, 0).len()).sum();
            assert!(have >= had + 3, "of two steps, one is everybody's who decodes");
            steps += 2;
            assert!(steps < 40, "the images are computed");
        }
        desk.finish();
    }
}

#[test]
fn images_behind_equal_tokens_never_share() {
    let mut desk = Desk::new(limits(), Policy { prefix_cache: true, ..policy() });
    let spans = |digest, at| [image(at, 6, digest)];
    let asked = [(1, spans(1, 5), 0), (2, spans(2, 5), 4), (3, spans(1, 5), 4 + 16)];
    let more = [(4, spans(1, 6), 4 + 16 + 4), (5, spans(2, 5), 4 + 16 + 4 + 16)];
    for (id, spans, hits) in asked.into_iter().chain(more) {
        desk.admit(pictured(id, 17, &spans)).expect("room");
        desk.finish();
        assert_eq!(desk.scheduler.stats().prefix_hit_tokens, hits, "request {id}");
    }
    assert_eq!(desk.tokens(1, 0), desk.tokens(3, 0));
    assert_eq!(desk.tokens(2, 0), desk.tokens(5, 0));
    assert_ne!(desk.tokens(1, 0), desk.tokens(2, 0));
    assert_ne!(desk.tokens(1, 0), desk.tokens(4, 0));
}

#[test]
fn a_prefix_from_the_cache_ends_at_no_image() {
    let mut desk = Desk::new(limits(), Policy { prefix_cache: true, ..policy() });
    for (id, hits) in [(1, 0), (2, 4)] {
        desk.admit(pictured(id, 13, &[image(6, 7, 1)])).expect("room");
        desk.step();
        let rows: Vec<_> = desk.batch.inject.iter().map(|(row, _)| *row).collect();
        let first = 6 - hits;
        assert_eq!(rows, (first..first + 7).collect::<Vec<_>>(), "the image is computed whole");
        desk.finish();
        assert_eq!(desk.scheduler.stats().prefix_hit_tokens, u64::from(hits));
    }
}

#[test]
fn a_lost_image_is_injected_again() {
    let ask = || pictured(1, 12, &[image(2, 5, 1)]);
    let mut alone = Desk::new(limits(), policy());
    alone.admit(ask()).expect("room");
    alone.finish();
    let mut desk = Desk::with_incidents(limits(), policy(), &[(1, Incident::Lost)]);
    desk.admit(ask()).expect("room");
    desk.finish();
    assert_eq!(desk.scheduler.stats().losses, 1);
    assert_eq!(desk.tokens(1, 0), alone.tokens(1, 0));
    let mut plain = Desk::new(limits(), policy());
    plain.admit(pictured(1, 12, &[])).expect("room");
    plain.finish();
    assert_ne!(plain.tokens(1, 0), alone.tokens(1, 0), "the image matters");
}

#[test]
fn images_that_fit_no_step_are_refused_with_numbers() {
    let mut desk = Desk::new(limits(), Policy { step_tokens_max: 8, ..policy() });
    let many = |rows, rows_max| Err(Refusal::TooManyRows { rows, rows_max });
    assert_eq!(desk.admit(pictured(1, 20, &[image(5, 9, 1)])), many(9, 8));
    desk.admit(pictured(1, 20, &[image(5, 8, 1)])).expect("exactly a step");
    let bucket = |rows_each, context| Bucket { sequences: 1, rows_each, context };
    let shape = Shape::Buckets(vec![bucket(1, 64), bucket(4, 64), bucket(8, 12)]);
    let mut buckets = Desk::new(Limits { shape, ..limits() }, policy());
    assert_eq!(buckets.admit(pictured(1, 20, &[image(5, 8, 1)])), many(8, 4));
    buckets.admit(pictured(1, 20, &[image(4, 8, 1)])).expect("within the context of eight rows");
    buckets.finish();
    let invalid = |desk: &mut Desk, spans: &[Span]| {
        let refused = desk.admit(pictured(2, 20, spans));
        assert!(matches!(refused, Err(Refusal::Invalid { .. })), "{refused:?}");
    };
    invalid(&mut desk, &[image(5, 0, 1)]);
    invalid(&mut desk, &[image(16, 5, 1)]);
    invalid(&mut desk, &[image(5, 3, 1), image(7, 3, 1)]);
    invalid(&mut desk, &[image(5, 3, 1), image(2, 3, 1)]);
    invalid(&mut desk, &[Span { start: u32::MAX, ..image(5, 3, 1) }]);
    invalid(&mut desk, &[Span { rows: [[0.0f32].into()].into(), ..image(5, 3, 1) }]);
    desk.finish();
    let mut blind = Desk::new(Limits { inject_width: 0, ..limits() }, policy());
    let refused = blind.admit(pictured(1, 20, &[image(5, 3, 1)]));
    assert_eq!(refused, Err(Refusal::Unsupported(Cannot::Do("an image or a sound"))));
}

#[test]
fn a_device_that_comes_back_with_fewer_rows_refuses_only_large_images() {
    let mut desk = Desk::with_incidents(limits(), policy(), &[(0, Incident::Lost)]);
    desk.admit(pictured(1, 20, &[image(5, 8, 1)])).expect("room");
    desk.admit(pictured(2, 20, &[image(5, 9, 1)])).expect("room");
    desk.submit().expect("both begin");
    desk.come_back(&Limits { shape: Shape::Varlen { rows_max: 8 }, ..limits() });
    let refusal = Refusal::TooManyRows { rows: 9, rows_max: 8 };
    assert_eq!(desk.end(2, 0), Some(Finish::Refused(refusal)));
    desk.finish();
    assert_eq!(desk.end(1, 0), Some(Finish::Length));
    let mut alone = Desk::new(limits(), policy());
    alone.admit(Request { id: RequestId(1), ..pictured(1, 20, &[image(5, 8, 1)]) }).expect("room");
    alone.finish();
    assert_eq!(desk.tokens(1, 0), alone.tokens(1, 0));
}
