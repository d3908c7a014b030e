-- docs_architecture_spec.lua -- docs/architecture.md against the tables of scripts/layers.lua and
-- against the files that it names for changes.

local layers = dofile "scripts/layers.lua"
local sources = require "support.sources"

local page = sources.read "docs/architecture.md"

---Sections of the page by their headings.
local function section(heading)
  return assert((page .. "\n#"):match("\n#+ " .. heading .. "\n(.-)\n#"), "no heading " .. heading)
end

---The names in backquotes of a text.
local function names(text)
  local found = {}
  for name in text:gmatch "`([^`]+)`" do found[#found + 1] = name end
  return found
end

describe("the folders of a part in docs/architecture.md", function()
  local text = section "The folders of a part"

  ---part -> folder -> the line of the picture that has it
  local lines, part = {}, nil
  for line in text:match("```\n(.-)```"):gmatch "([^\n]*)\n" do
    part = line:match "^(%l+)" or part
    lines[part] = lines[part] or { count = 0 }
    lines[part].count = lines[part].count + 1
    if line:find "files of" then
      lines[part]["."] = lines[part].count
    else
      for folder in line:gsub("^%l+", ""):gmatch "[%l_]+" do
        lines[part][folder] = lines[part].count
      end
    end
  end

  it("are in the picture, each above those that it includes", function()
    for name, folders in pairs(layers.folders) do
      for folder, others in pairs(name ~= "cluster" and name ~= "main" and folders or {}) do
        local line =
          assert(lines[name][folder], ("%s/%s is not in the picture"):format(name, folder))
        for _, other in ipairs(others) do
          assert.is_true(line < lines[name][other],
            ("%s/%s includes %s"):format(name, folder, other))
        end
      end
    end
  end)

  it("have a row with the folders that they include", function()
    local rows = {}
    for cell, includes in text:gmatch "\n| (`src/[^|]*) |([^|]*)|" do
      for _, path in ipairs(names(cell)) do
        rows[path] = names(includes)
        table.sort(rows[path])
      end
    end
    for name, folders in pairs(layers.folders) do
      for folder, others in pairs(name ~= "main" and folders or {}) do
        local expected = {}
        for i, other in ipairs(others) do expected[i] = other == "." and name or other end
        table.sort(expected)
        local path = "src/" .. name .. (folder == "." and "" or "/" .. folder)
        assert.same(expected, rows[path], path)
        rows[path] = nil
      end
    end
    assert.same({}, rows)
  end)
end)

---change -> a word that its file must have: where the word moves, the row must follow
local words = {
  ["a close code"] = "CLOSE_POLICY = 1008",
  ["the wait for a client's Close frame"] = "CLOSE_ACK_MS = 3000",
  ["a counter"] = "X(connections_opened",
  ["the number of rooms per connection"] = "\nbool hub_join(",
  ["timers of old code"] = "cancel()",
  ["the TLS versions and ciphers"] = "SSL_CTX_set_cipher_list(",
  ["a limit on the rate of messages"] = "bool hub_rate_admit(",
  ["permessage-deflate"] = "void hub_use_compression(",
  ["a limit per remote address"] = "ip_counts_",
  ["a limit over all workers"] = "struct limit {",
  ["an event of the log"] = "log_begin(",
  ["an option of the command line"] = '"--watch"',
  ["an environment variable"] = "TIDEWIRE_LOG_LEVEL",
  ["an option of the app or of a handler"] = '"max_backlog"',
  ["a hook"] = '"on_drain"',
  ["a method of conn"] = "function methods.close(",
  ["an algorithm of JWT"] = "ES256",
  ["a codec"] = "json",
  ["the MIME type of a static file"] = "text/html",
  ["ETag, conditional requests, ranges"] = "If-None-Match",
  ["the backlog of a listening socket"] = "listen(fd, BACKLOG)",
  ["systemd's socket activation"] = "LISTEN_FDNAMES",
  ["the messages of an upgrade"] = "CONTROL_UPGRADE",
  ["the watchdog's period"] = "LONGEST_NS =",
  ["a memory limit of the Lua state"] = "vm_memory_set_limit(",
  ["the time that a reload may take"] = '"load_timeout"',
}

describe("where to put a change, in docs/architecture.md", function()
  local rows = {}
  for change, cell in section("Where to put …"):gmatch "\n| (%a[^|]-) | ([^|]-) |" do
    rows[change] = names(cell)[1]
  end

  for change, word in pairs(words) do
    it("is right about " .. change, function()
      local path = assert(rows[change], "no such row")
      assert.is_truthy(sources.read(path):find(word, 1, true), ("%s has no %s"):format(path, word))
    end)
  end
end)
