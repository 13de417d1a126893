// For servers of tests that are processes of their own. Loaded with --import.
import { poisonReusedMemory } from "./poison.ts";

poisonReusedMemory();
