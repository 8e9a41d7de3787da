"""Token login for programs."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from dash_app.api.problems import Problem
from dash_app.api.shapes import PROBLEMS, DataDep
from dash_app.sign_in import client_address
from hps_platform import access

router = APIRouter(prefix="/api/auth", tags=["Sign-in"], responses=PROBLEMS)


class Login(BaseModel):
    username: str = Field(max_length=1024)
    password: str = Field(max_length=1024)


class Token(BaseModel):
    token: str = Field(description="Send it as `Authorization: Token <token>`; it is shown only now")


@router.post("/token/", responses={429: {"model": Problem, "description": "Too many failed sign-ins"}})
def create_token(login: Login, request: Request, data: DataDep) -> Token:
    """A new API token for that account; needs no credentials of its own."""
    address = client_address(request)
    user = access.verify(data.db, login.username, login.password, address=address)
    return Token(token=access.issue_token(data.db, user.username, name=f"API login from {address}", days=30))
