-- The gate before arXiv: one request at a time, a pause after each, for every process together.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0006_gate') as pending \gset
\if :pending
    create table gate (
        only_row boolean primary key default true check (only_row),
        holder uuid,
        held_until timestamptz not null default '-infinity',
        free_at timestamptz not null default '-infinity',
        closed_until timestamptz not null default '-infinity',
        refusals integer not null default 0,
        last_refused uuid,
        request_time double precision not null default 0
    );
    comment on column gate.holder is 'the ticket whose request is under way';
    comment on column gate.held_until is 'when its request has ended even if its process died';
    comment on column gate.free_at is 'when the pause after the last request is over';
    comment on column gate.closed_until is 'until when arXiv wants no request at all';
    comment on column gate.refusals is 'how many times in a row arXiv asked for a pause';
    comment on column gate.last_refused is 'whose refusal has been counted: it may be told twice';
    comment on column gate.request_time is 'seconds a request takes, lately';
    insert into gate default values;
    create table gate_queue (
        place bigint generated always as identity primary key,
        ticket uuid not null unique,
        expires timestamptz not null
    );
    comment on table gate_queue is 'searches that wait for their turn, first come first served';
    comment on column gate_queue.expires is 'renewed by the waiting process; a dead one loses its place';
    grant select, update on gate to arxiv_rw;
    grant select, insert, update, delete on gate_queue to arxiv_rw;
    insert into migrations (name) values ('0006_gate');
    \echo applied 0006_gate
\endif
commit;
