// The overview stays live while it is looked at.
import { keepFresh } from "./fragment.js";

keepFresh("overview-live", 3);
