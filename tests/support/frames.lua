-- frames.lua -- WebSocket frames as bytes (RFC 6455, section 5.2), valid ones and invalid ones.
--
-- `encode` writes any combination of fields, so a test can send frames that no client library
-- would. `read` is strict: it throws when the server's frame breaks a rule. Pure functions on
-- strings; knows no socket.

local frames = {}

--- Opcodes by name.
frames.opcode = {
  continuation = 0x0, text = 0x1, binary = 0x2, close = 0x8, ping = 0x9, pong = 0xA,
}

--- Names by opcode.
frames.name = {}
for name, opcode in pairs(frames.opcode) do frames.name[opcode] = name end

-- XOR with the four bytes of the key, eight bytes a step.
local function mask(payload, key)
  if key == "\0\0\0\0" then return payload end
  local wide = string.unpack("<I8", key .. key)
  local padding = -#payload % 8
  local source = payload .. ("\0"):rep(padding)
  local out, batch = {}, {}
  for position = 1, #source, 8 do
    batch[#batch + 1] = string.pack("<I8", string.unpack("<I8", source, position) ~ wide)
    if #batch == 4096 then
      out[#out + 1] = table.concat(batch)
      batch = {}
    end
  end
  out[#out + 1] = table.concat(batch)
  return table.concat(out):sub(1, #payload)
end

---@class support.frame
---@field opcode integer|string number, or a name of `frames.opcode`; "text" when left out
---@field payload string?
---@field fin boolean? true when left out
---@field rsv integer? 0 to 7: the bits RSV1 (4), RSV2 (2), RSV3 (1)
---@field masked boolean? true when left out
---@field key string? the four masking bytes; random when left out
---@field length integer? the length to claim, when it is not the payload's
---@field length_bytes integer? how the length is written: 0 (in the second byte), 2 or 8; shortest
---  when left out

--- The bytes of one frame.
---@param frame support.frame
---@return string bytes
function frames.encode(frame)
  local payload = frame.payload or ""
  local opcode = frame.opcode or "text"
  local length = frame.length or #payload
  local first =
    (frame.fin == false and 0 or 0x80) | ((frame.rsv or 0) << 4) | (frames.opcode[opcode] or opcode)
  local masked = frame.masked ~= false
  local bit = masked and 0x80 or 0
  local width = frame.length_bytes or (length < 126 and 0) or (length < 65536 and 2) or 8
  local head
  if width == 0 then
    head = string.pack("BB", first, bit | length)
  elseif width == 2 then
    head = string.pack(">BBI2", first, bit | 126, length)
  else
    head = string.pack(">BBI8", first, bit | 127, length)
  end
  if not masked then return head .. payload end
  local key = frame.key or string.pack("<I4", math.random(0, 0xffffffff))
  return head .. key .. mask(payload, key)
end

--- The payload of a Close frame.
---@param code integer? none: an empty payload
---@param reason string?
---@return string
function frames.close_payload(code, reason)
  return code and string.pack(">I2", code) .. (reason or "") or ""
end

--- Take one whole frame that a server sent from a stream; nil while it is not all there.
---@param source support.stream
---@param deflate boolean? messages may be compressed
---@return { fin: boolean, opcode: integer, kind: string, payload: string, compressed: boolean }?
function frames.read(source, deflate)
  local head = source:look(2)
  if not head then return nil end
  local first, second = head:byte(1, 2)
  local length, size = second & 0x7f, 2
  if length == 126 then
    size = 4
  elseif length == 127 then
    size = 10
  end
  if size > 2 then
    head = source:look(size)
    if not head then return nil end
    local written = string.unpack(size == 4 and ">I2" or ">I8", head, 3)
    if written < (size == 4 and 126 or 65536) then
      error("the server wrote a length longer than needed")
    end
    length = written
  end
  if source:available() < size + length then return nil end
  local opcode = first & 0x0f
  local kind = frames.name[opcode]
  if second & 0x80 ~= 0 then error("the server masked a frame") end
  local compressed = deflate and first & 0x70 == 0x40 and (opcode == 1 or opcode == 2)
  if first & 0x70 ~= 0 and not compressed then error("the server set a reserved bit") end
  if not kind then error("the server sent the unknown opcode " .. opcode) end
  if opcode >= 8 and (length > 125 or first & 0x80 == 0) then
    error("the server sent a broken control frame")
  end
  source:take(size)
  return {
    fin = first & 0x80 ~= 0, opcode = opcode, kind = kind, payload = source:take(length),
    compressed = compressed,
  }
end

frames.mask = mask

return frames
