"""The same API with FastAPI and asyncpg: the same SQL, JSON made by PostgreSQL, no cache."""

import os
import re
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI, HTTPException, Response
from pydantic import BaseModel, Field

from app.api.appointments import BOOK, SELECT_APPOINTMENTS
from app.api.days import SELECT_DAYS
from app.api.interviewers import SELECT_INTERVIEWERS

PARAMETERS = ("appointment_id", "student", "interviewer", "must_be_booked", "must_be_free")
# asyncpg numbers its parameters.
BOOK_NUMBERED = re.sub(r"%\((\w+)\)s", lambda name: f"${PARAMETERS.index(name[1]) + 1}", BOOK)


class Interview(BaseModel):
    student: str = Field(min_length=1, max_length=255)
    interviewer: int


class Booking(BaseModel):
    interview: Interview


@asynccontextmanager
async def lifespan(app):
    size = int(os.environ["DB_POOL_SIZE"])
    url = os.environ["DATABASE_URL"]
    async with asyncpg.create_pool(url, min_size=size, max_size=size) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


async def list_as_json(statement):
    return Response(await app.state.pool.fetchval(statement), media_type="application/json")


@app.get("/api/days")
async def list_days():
    return await list_as_json(SELECT_DAYS)


@app.get("/api/appointments")
async def list_appointments():
    return await list_as_json(SELECT_APPOINTMENTS)


@app.get("/api/interviewers")
async def list_interviewers():
    return await list_as_json(SELECT_INTERVIEWERS)


@app.put("/api/appointments/{appointment_id}", status_code=204)
async def book(appointment_id: int, booking: Booking) -> None:
    student, interviewer = booking.interview.student, booking.interview.interviewer
    outcome = await app.state.pool.fetchrow(
        BOOK_NUMBERED, appointment_id, student, interviewer, False, False
    )
    if not outcome["appointment_exists"]:
        raise HTTPException(404)
    if not outcome["interviewer_exists"]:
        raise HTTPException(422)
