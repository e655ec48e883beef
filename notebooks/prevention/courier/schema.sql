create table parcels (
    code text primary key,
    delivered boolean not null default false
);
create table labels (
    code text not null
);
