-- connect_load_spec.lua -- clients of tw.connect while an app loads, and in hooks that cannot wait.

local client = require "support.client"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local upstream = require "support.upstream"

-- Asks the other server while the top level runs and in on_load. The answer is the question.
local APP = [[
local tw = require "tidewire"
local record = require "record"

local function ask(text)
  local client <close> = assert(tw.connect(os.getenv("OTHER")))
  assert(client:send(text))
  return (client:receive())
end

record("answer", ask("%s"))
return {
  on_load = function() record("answer", ask("on_load")) end,
  endpoints = { ["/"] = {} },
}
]]

local function echo(peer, frame)
  peer:write(upstream.frame(frame.opcode, frame.payload))
end

describe("while an app loads, a client", function()
  local other
  before_each(function() other = upstream.start(nil, echo) end)
  after_each(function() other:close() end)

  local function start(text)
    return server.start({ app = APP:format(text), workers = 1,
      environment = { OTHER = other.url } })
  end

  local function answers(app)
    local list = {}
    for i, event in ipairs(app:events("answer")) do list[i] = event[2] end
    return list
  end

  it("sends, receives and closes", function()
    local app <close> = start("top level")
    assert.same({ "top level", "on_load" }, answers(app))
  end)

  it("does so in a reload, too", function()
    local app <close> = start("first")
    reloads.good(app, { ["app.lua"] = APP:format("second") })
    assert.same({ "first", "on_load", "second", "on_load" }, answers(app))
  end)

  it("does so in a check, too", function()
    local folder = process.make_directory()
    process.write_file(folder .. "/app.lua", [[
      local client = assert(require "tidewire".connect(os.getenv("OTHER")))
      client:send("checked")
      io.stderr:write(client:receive(), "\n")
      client:close()
      return { handle_message = function() end }
    ]])
    local result = server.run({ "check", "app.lua" },
      { directory = folder, environment = { OTHER = other.url } })
    process.remove_directory(folder)
    assert.same({ 0, "checked\n" }, { result.code, result.stderr })
  end)
end)

describe("in validate, a client", function()
  it("throws where it had to wait", function()
    local other <close> = upstream.start()
    local app <close> = server.start({ workers = 1, environment = { OTHER = other.url }, app = [[
      local tw = require "tidewire"
      local record = require "record"
      local feed
      return {
        on_load = function() feed = assert(tw.connect(os.getenv("OTHER"))) end,
        endpoints = {
          ["/"] = {
            validate = function()
              record("thrown", select(2, pcall(tw.connect, os.getenv("OTHER"))))
              record("thrown", select(2, pcall(feed.receive, feed)))
              record("thrown", select(2, pcall(feed:messages())))
              return assert(feed:send("sent"))
            end,
          },
        },
      }
    ]] })
    client.connect(app:url("/")):close()
    local sentence = "validate must answer at once; do the slow part in on_start"
    local events = app:events("thrown")
    assert.equal("app.lua:9: tw.connect: " .. sentence, events[1][2])
    assert.equal("app.lua:10: client:receive: " .. sentence, events[2][2])
    assert.equal("app.lua:11: client:receive: " .. sentence, events[3][2])
    assert.equal("sent", upstream.wait_frame(other.peers[1], "text").payload)
  end)
end)
