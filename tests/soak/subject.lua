-- subject.lua -- one server of the soak test: its process, its reloads, and what is left in it when
-- no client is there.

local certificates = require "support.certificates"
local cjson = require "cjson"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"

---@class soak.subject
---@field name string "plain", "tls"
---@field server support.server
---@field generation integer how often the app was written
local Subject = {}
Subject.__index = Subject

local subject = {}

local WORKERS <const> = 2

-- The server returns the memory of a peak when it has had little to do for a second.
local QUIET_SECONDS <const> = 10

--- Starts one.
---@param name string
---@param options { tls: boolean, hostile: integer, clients: string }
---@return soak.subject
function subject.start(name, options)
  local environment = { HOSTILE = tostring(options.hostile), TIDEWIRE_HANDLER_TIMEOUT = false,
    TIDEWIRE_LOG_LEVEL = false }
  if options.tls then
    environment.TIDEWIRE_TLS_CERTIFICATE, environment.TIDEWIRE_TLS_KEY = certificates.shared()
  end
  -- freed memory is kept for a while by AddressSanitizer: little, or nothing would be seen
  environment.ASAN_OPTIONS = "quarantine_size_mb=8:exitcode=99:"
    .. (os.getenv("ASAN_OPTIONS") or "")
  environment.LSAN_OPTIONS = "exitcode=99:print_suppressions=0:suppressions="
    .. require("luv").cwd() .. "/cmake/lsan.supp"
  local text = assert(process.read_file("tests/soak/app.lua"))
  local self = setmetatable({ name = name, generation = 1, text = text }, Subject)
  self.server = server.start({
    app = text, workers = WORKERS, environment = environment,
    files = { ["clients.lua"] = options.clients, ["files/page.html"] = ("<p>page</p>\n"):rep(500) },
  })
  return self
end

--- Writes other code, now and then with an error in it, and asks for a reload.
function Subject:reload()
  self.generation = self.generation + 1
  local text = self.text:gsub("local VERSION = 1", "local VERSION = " .. self.generation)
  if self.generation % 5 == 0 then text = text .. "\nthis is no Lua\n" end
  process.replace_file(self.server.directory .. "/app.lua", text)
  self.server:signal("sighup")
end

---@return boolean
function Subject:is_running()
  return self.server.process.exit_code == nil
end

--- Bytes of memory, and descriptors.
function Subject:sample()
  return self.server.process:rss_kib() * 1024, self.server.process:fd_count()
end

-- The figures of the admin address.
local function admin_stats(self)
  local response = assert(http.request(self.server.admin, "/stats"))
  return cjson.decode(response.body)
end

--- What is left, when all clients have left: waits until nothing changes any more. `expected` are
--- the connections that stay.
---@param expected integer
---@return table<string, number> figures
function Subject:measure(expected)
  local figures
  loop.wait_until(function()
    local total = { lua = 0 }
    for worker = 0, WORKERS - 1 do
      local left = cjson.decode(self.server:http_on(worker, "/measure").body)
      total.lua = total.lua + left.lua
      for _, name in ipairs { "members", "connections", "timers", "upstreams", "sessions" } do
        total[name] = left[name]
      end
    end
    local stats, waiting, old = admin_stats(self), 0, 0
    for _, row in ipairs(stats.generations) do
      waiting = waiting + row.waiting_hooks
      old = old + (row.generation ~= stats.generation and row.timers + row.waiting_hooks or 0)
    end
    total.waiting, total.old_code = waiting, old
    total.rss, total.descriptors = self:sample()
    local done = total.connections == expected and total.members == 0 and total.upstreams == 0
      and total.sessions == 0 and total.waiting == 0
    figures = total
    return done
  end, 60)
  for _ = 1, QUIET_SECONDS do -- sockets of these requests are closed, and freed memory is returned
    loop.pass(1)
    local rss, descriptors = self:sample()
    figures.rss, figures.descriptors = math.min(figures.rss, rss), descriptors
  end
  return figures
end

--- Ends it. Throws when that was not clean.
function Subject:stop()
  self.server:stop()
end

return subject
