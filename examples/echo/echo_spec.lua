-- echo_spec.lua -- the echo example: on one path, browsers get a page and WebSockets an echo.

local server = require "support.server"
local stream = require "support.stream"

describe("examples/echo", function()
  local app

  lazy_setup(function()
    app = server.start({ app_path = require("luv").cwd() .. "/examples/echo/app.lua" })
  end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  it("sends text back as text and binary as binary", function()
    local ada = app:connect("/")
    local answer, kind = ada:ask("hello, wörld")
    assert.same({ "hello, wörld", "text" }, { answer, kind })
    ada:send_binary("\0\255")
    answer, kind = ada:receive()
    assert.same({ "\0\255", "binary" }, { answer, kind })
  end)

  it("shows a browser a page that connects", function()
    local response = app:http("/")
    assert.equal(200, response.status)
    assert.equal("text/html; charset=utf-8", response.headers["content-type"])
    assert.is_truthy(response.body:find("^%s*<!DOCTYPE html>"))
    assert.is_truthy(response.body:find("new WebSocket(", 1, true))
  end)
end)
