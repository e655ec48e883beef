"""Who writes reports, and what their titles look like."""

from sqlalchemy import text


def headline(title):
    return title.strip().title()


async def add_user(session, name):
    return await session.scalar(text("insert into users (name) values (:name) returning id"), {"name": name})


async def add_report(session, user, title):
    await session.execute(text("insert into reports (owner_id, title) values (:owner, :title)"), {"owner": user, "title": title})


async def titles(session, user):
    return list(await session.scalars(text("select title from reports where owner_id = :owner order by id"), {"owner": user}))
