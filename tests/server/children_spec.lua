-- children_spec.lua -- the processes that a script starts: their standard input, output and error,
-- and their signals are as a shell would set them, for each way of starting them.

local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local tw, uv, here = require "tidewire", require "luv", require "here"
local INSPECT = "ls /proc/self/fd | tr '\n' ' '; grep -E 'Sig(Ign|Blk)' /proc/self/status"

local ways = {}
function ways.popen()
  local pipe <close> = io.popen(INSPECT)
  return pipe:read("a")
end
function ways.execute()
  local name = os.tmpname()
  os.execute("(" .. INSPECT .. ") > " .. name)
  local file <close> = io.open(name)
  os.remove(name)
  return file:read("a")
end
function ways.spawn()
  return (tw.await(function(done)
    local pipe, text = uv.new_pipe(), ""
    uv.spawn("/bin/sh", { args = { "-c", INSPECT }, stdio = { nil, pipe, 2 } }, function() end)
    pipe:read_start(function(_, chunk)
      if chunk then text = text .. chunk else pipe:close() done(text) end
    end)
  end))
end
function ways.thread()
  return (tw.await(function(done)
    local work = uv.new_work(function(inspect)
      local pipe <close> = io.popen(inspect)
      return pipe:read("a")
    end, done)
    work:queue(INSPECT)
  end))
end
kept = io.open("app.lua") -- open as long as the script

return {
  admin = "127.0.0.1:0",
  endpoints = { ["/"] = {} },
  http = {
    ["/"] = function() return "fetched" end,
    ["/way/:name"] = function(request) return ways[request.params.name]() end,
    ["/fetch"] = function(request)
      tw.connect("ws://127.0.0.1:1/")
      return tw.http.request{ url = request.query.url }.body
    end,
    ["/broken"] = function()
      local pipe = io.popen("exec 0<&-; exit 0", "w")
      tw.sleep(0.05)
      for _ = 1, 100 do
        local ok, why = pipe:write(("x"):rep(100000))
        if not ok then return why end
      end
      return "all was written"
    end,
  },
}
]]

describe("a process that a script starts", function()
  local app, url

  lazy_setup(function()
    app = server.start({
      app = APP, files = { ["x"] = "" }, options = { "--watch", "--pid-file", "pid" },
    })
    local address = app.addresses[1]
    url = ("%s://%s:%d/"):format(address.tls and "https" or "http", address.host, address.port)
  end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  for _, way in ipairs { "popen", "execute", "spawn", "thread" } do
    it("has the standard descriptors and no signal ignored or blocked: " .. way, function()
      for _ = 1, 3 do app:connect("/") end
      if not url:find("^https") then
        assert.equal("fetched", app:http("/fetch?url=" .. url).body)
      end
      local descriptors, blocked, ignored =
        app:http("/way/" .. way).body:match("^([%d ]+)SigBlk:%s*(%x+)%s*SigIgn:%s*(%x+)")
      assert.equal("0 1 2 3 ", descriptors) -- 3 is the listing's own
      assert.matches("^0+$", blocked)
      local mine = (process.read_file("/proc/self/status") or ""):match("SigIgn:%s*(%x+)")
      local BROKEN_PIPE <const> = 1 << 12
      assert.equal(tonumber(mine, 16) & ~BROKEN_PIPE & 0x7fffffff,
        tonumber(ignored, 16) & 0x7fffffff)
    end)
  end

  it("can end before it has read all, which is an error of the write", function()
    assert.matches("Broken pipe", app:http("/broken").body)
  end)

  it("is awaited at the server's end where its pipe is open: no script is blamed", function()
    -- Longer than scripts may take to end.
    local other <close> =
      server.start({ app = "pipe = io.popen('sleep 8') return { endpoints = { ['/'] = {} } }" })
    other:signal("sigterm")
    assert.same({ 0, 0 }, { other.process:wait_exit() })
    assert.same({}, other:log_lines("drain_cut_short"))
  end)
end)
